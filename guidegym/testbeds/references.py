"""Reference statistics of real data in the judge's features, per class."""

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save
from torch import Tensor

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.metrics import moments, reference_self_term
from guidegym.metrics.checking import check_finite
from guidegym.support.files import write_atomically
from guidegym.support.tensor_files import read_tensors
from guidegym.testbeds.image_data import to_unit_range
from guidegym.testbeds.judge import CHUNK, JudgeNetwork, seen_by

FORMAT = "guidegym-references/1"


@dataclass(frozen=True, eq=False)
class References:
    """Real data in the judge's features, for kernel and Frechet distances, overall and per class.

    Args:
        features: A fixed subset of each class, for kernel distances.
        mean: Mean of each class over all the training data.
        covariance: Covariance of each class over all the training data.
        extractor: Digest of the judge whose features these are: distances in different spaces must not be compared.
        spatial: Mean and covariance of the judge's spatial features over all the data; None if it has none.
    """

    features: Float[Tensor, " classes n dim"]
    mean: Float[Tensor, " classes dim"]
    covariance: Float[Tensor, " classes dim dim"]
    extractor: str
    spatial: tuple[Float[Tensor, " places"], Float[Tensor, " places places"]] | None = None

    def to(self, device: torch.device) -> "References":
        """Return the references on a device."""
        return replace(
            self,
            features=self.features.to(device),
            mean=self.mean.to(device),
            covariance=self.covariance.to(device),
            spatial=None if self.spatial is None else (self.spatial[0].to(device), self.spatial[1].to(device)),
        )

    @functools.cached_property
    def self_term(self) -> Float[Tensor, " classes"]:
        """The references' term of the kernel distance, computed once."""
        return reference_self_term(self.features.double())

    @functools.cached_property
    def pooled(self) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim dim"]]:
        """Mean and covariance of all classes together, with equal class weights (law of total covariance)."""
        mean = self.mean.mean(dim=0)
        centred = self.mean - mean
        return mean, self.covariance.mean(dim=0) + centred.mT @ centred / len(self.mean)


def references_from_features(
    features: Float[Tensor, " n dim"],
    labels: Tensor,
    *,
    num_classes: int,
    kept: int,
    extractor: str,
    spatial: Float[Tensor, " n places"] | None = None,
) -> References:
    """Summarise labelled features: per-class moments over all rows, and the first rows of each class.

    Args:
        features: Judge features of real data.
        labels: Their classes, in 0 .. num_classes - 1.
        num_classes: Number of classes.
        kept: Rows to keep per class, at most the size of the smallest class.
        extractor: Digest or name of the judge.
        spatial: Its spatial features of the same data, if it has any.

    Raises:
        GuideGymError: If a class has fewer than two rows.
    """
    rows = [features[labels == label] for label in range(num_classes)]
    smallest = min(len(row) for row in rows)
    if smallest < 2:
        raise GuideGymError(f"references need at least 2 rows per class, the smallest has {smallest}")
    kept = min(kept, smallest)
    statistics = [moments(row) for row in rows]
    return References(
        features=torch.stack([row[:kept] for row in rows]).float(),
        mean=torch.stack([mean for mean, _ in statistics]),
        covariance=torch.stack([covariance for _, covariance in statistics]),
        extractor=extractor,
        spatial=None if spatial is None else moments(spatial, _balancing(labels, num_classes)),
    )


def references_from_images(
    judge: JudgeNetwork,
    images: UInt8[Tensor, " n channels height width"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    kept: int,
    extractor: str,
    device: torch.device,
) -> References:
    """Summarise a judge's features of labelled images, on the CPU; the other arguments are as in ``references_from_features``.

    Args:
        judge: The judge.
        images: Images, levels 0..255, which it gets in [-1, 1], a chunk at a time.
        labels: Their classes.
        num_classes: Number of classes.
        kept: Rows to keep per class.
        extractor: Digest or name of the judge.
        device: Device of the judge.

    Raises:
        GuideGymError: If a class has fewer than two images.
    """
    seen = [seen_by(judge, to_unit_range(rows).to(device)) for rows in images.split(CHUNK)]
    spatial = [one.spatial.cpu() for one in seen if one.spatial is not None]
    return references_from_features(
        torch.cat([one.features.cpu() for one in seen]),
        labels,
        num_classes=num_classes,
        kept=kept,
        extractor=extractor,
        spatial=torch.cat(spatial) if spatial else None,
    )


def _balancing(labels: Tensor, num_classes: int) -> Float[Tensor, " n"]:
    """Return row weights under which all classes have equal shares, as among samples."""
    counts = torch.bincount(labels, minlength=num_classes).double()
    return (len(labels) / num_classes / counts)[labels]


def _narrowed(features: Float[Tensor, " classes n dim"]) -> Float[Tensor, " classes n dim"]:
    """Return features in half precision if that keeps three digits of each row's length, and unchanged otherwise.

    Half precision ends at 65504 and loses digits below 6e-5, and a judge's features may have any size.
    """
    half = features.half()
    off = (half.double() - features.double()).norm(dim=-1)
    return half if bool((off <= 1e-3 * features.double().norm(dim=-1)).all()) else features.float()


def save_references(references: References, path: Path) -> None:
    """Write the references to one safetensors file, features in half precision if that suffices.

    Raises:
        GuideGymError: If a number is too large for single precision.
    """
    tensors = {"features": _narrowed(references.features), "mean": references.mean, "covariance": references.covariance}
    if references.spatial is not None:
        tensors |= dict(zip(("spatial_mean", "spatial_covariance"), references.spatial, strict=True))
    tensors = {
        name: (value if value.dtype == torch.float16 else value.float()).contiguous() for name, value in tensors.items()
    }
    for name, value in tensors.items():
        check_finite(f"{name} of the references", value)
    write_atomically(path, save(tensors, metadata={"format": FORMAT, "extractor": references.extractor}))


def load_references(path: Path, *, extractor: str, device: torch.device | str = "cpu") -> References:
    """Read the references of a judge.

    Args:
        path: The file.
        extractor: Digest of the current judge, which must be the one that computed the features.
        device: Device of the tensors.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is not a reference file, or belongs to another judge.
    """
    if not path.is_file():
        raise DataNotFoundError(f"no reference statistics {path}")
    header, tensors = read_tensors(path, device=device)
    if header.get("format") != FORMAT:
        raise FileFormatError(f"{path} must have format {FORMAT!r}, got {header.get('format')!r}")
    if header.get("extractor") != extractor:
        raise FileFormatError(f"{path} holds features of another judge than the one beside it; rebuild it")
    if not {"features", "mean", "covariance"} <= tensors.keys():
        raise FileFormatError(f"{path} must hold features, mean and covariance, got {', '.join(tensors) or 'none'}")
    features, mean, covariance = (tensors[name] for name in ("features", "mean", "covariance"))
    shapes = (features.shape[:1] + features.shape[2:], (*mean.shape, *mean.shape[1:]))
    if features.ndim != 3 or 0 in features.shape or mean.shape != shapes[0] or covariance.shape != shapes[1]:
        raise FileFormatError(
            f"{path}: features, mean and covariance must be of the same space, got shapes "
            f"{tuple(features.shape)}, {tuple(mean.shape)}, {tuple(covariance.shape)}"
        )
    for name, value in tensors.items():
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise FileFormatError(f"{path}: {name} must be finite numbers")
    spatial = None
    if "spatial_mean" in tensors and "spatial_covariance" in tensors:
        spatial = (tensors["spatial_mean"].double(), tensors["spatial_covariance"].double())
    return References(
        features=tensors["features"].float(),
        mean=tensors["mean"].double(),
        covariance=tensors["covariance"].double(),
        extractor=extractor,
        spatial=spatial,
    )


def file_digest(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
