"""Feature extractors: the spaces that sample sets are measured in, identified by name and weight digest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.networks import network_digest
from guidegym.testbeds import References, Testbed, references_from_features
from guidegym.testbeds.image_data import to_grey_levels
from guidegym.testbeds.judge import Seen

INCEPTION = "inception-v3-compat"
INCEPTION_MAPS = 7
"""Maps of the spatial features, as published: the first seven of the first branch of the fourth 17x17 block, after its ReLU."""
CHUNK = 64


@dataclass(frozen=True, eq=False)
class Extractor:
    """A feature extractor with the features of real data.

    Args:
        name: Its name in results.
        look: Returns features, logits and spatial features of clean samples.
        references: Real data in its features; their ``extractor`` is the digest of its weights.
    """

    name: str
    look: Callable[[Float[Tensor, " n *event"]], Seen]
    references: References

    @property
    def digest(self) -> str:
        """Digest of the weights: numbers under different digests must not be compared."""
        return self.references.extractor


def judge_extractor(testbed: Testbed) -> Extractor:
    """Return a testbed's judge as the extractor."""
    return Extractor(f"{testbed.name} judge", testbed.seen, testbed.references)


def inception_extractor(testbed: Testbed, *, weights: Path | None = None, data: Path | None = None) -> Extractor:
    """Return torch-fidelity's Inception as the extractor, with the testbed's held-out data as references.

    Args:
        testbed: A testbed of images with ``test_data``.
        weights: torch-fidelity's weight file; None lets it download its own.
        data: Folder of the held-out data, if it is read from files.

    Raises:
        GuideGymError: If the testbed has no images or no held-out data, or the weights are unavailable.
        FileFormatError: If the file is not a weight file.
    """
    if len(testbed.event_shape) != 3 or testbed.event_shape[0] not in (1, 3):
        raise GuideGymError(f"Inception looks at images of 1 or 3 channels, got samples of shape {testbed.event_shape}")
    if testbed.test_data is None:
        raise GuideGymError(f"testbed '{testbed.name}' has no `test_data` to compare samples with")
    network = _inception(weights, testbed.device)

    def look(x: Float[Tensor, " n *event"]) -> Seen:
        parts = [_look(network, to_bytes(rows)) for rows in x.split(CHUNK)]
        features, logits, spatial = (torch.cat(part) for part in zip(*parts, strict=True))
        return Seen(features, logits, spatial)

    rows = testbed.test_data(data)
    seen = look(rows.x.to(testbed.device))
    references = references_from_features(
        seen.features.cpu(),
        rows.labels.cpu(),
        num_classes=testbed.num_classes,
        kept=len(rows.x),
        extractor=network_digest(network),
        spatial=None if seen.spatial is None else seen.spatial.cpu(),
    )
    return Extractor(INCEPTION, look, references.to(testbed.device))


def to_bytes(x: Float[Tensor, " n channels height width"]) -> UInt8[Tensor, " n three height width"]:
    """Return images in [-1, 1] as the RGB bytes that Inception takes: clamped, rounded, with grey channels repeated."""
    return to_grey_levels(x).expand(-1, 3, -1, -1)


def _inception(weights: Path | None, device: torch.device) -> Any:
    """Load torch-fidelity's network."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if weights is not None:
        if not weights.is_file():
            raise GuideGymError(f"no Inception weights {weights}")
        try:
            # torch-fidelity unpickles its input: only files with nothing but tensors may reach it.
            torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:
            raise FileFormatError(f"{weights} is not a file of weights: {str(error).splitlines()[0]}") from error
    try:
        network = FeatureExtractorInceptionV3(
            INCEPTION,
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=None if weights is None else str(weights),
        )
    except (OSError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        if weights is not None:
            raise FileFormatError(f"{weights} does not contain Inception's weights: {said}") from error
        raise GuideGymError(f"Inception's weights cannot be downloaded ({said}); give `--inception-weights`") from error
    return network.to(device)


@torch.no_grad()
def _look(network: Any, images: UInt8[Tensor, " n three height width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, logits and spatial features, which the network itself does not return."""
    seen: list[Tensor] = []
    with network.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, maps: seen.append(maps)):
        features, logits = network(images)
    return features, logits, seen[0][:, :INCEPTION_MAPS].flatten(1)
