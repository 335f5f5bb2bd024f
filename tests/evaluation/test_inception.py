"""Inception as the extractor, with random weights: the real ones are a download."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as published

from guidegym import GuideGymError, Testbed, load_testbed
from guidegym.errors import FileFormatError
from guidegym.evaluation.measuring.extractor import INCEPTION, inception_extractor, to_bytes
from guidegym.testbeds.testbed import Rows

ROWS = 20


@pytest.fixture(scope="module")
def digits() -> Testbed:
    """The digits with two held-out images of each class."""
    testbed = load_testbed("digits")
    assert testbed.test_data is not None
    rows = testbed.test_data(None)
    chosen = torch.cat([(rows.labels == label).nonzero()[:2, 0] for label in range(10)])
    return replace(testbed, test_data=lambda _: Rows(rows.x[chosen], rows.labels[chosen]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the keys and shapes of Inception's weights."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)
        torch.manual_seed(0)
        network = published.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_features_are_torch_fidelity_s_own(digits: Testbed, weights: Path) -> None:
    extractor = inception_extractor(digits, weights=weights)
    assert extractor.name == INCEPTION
    assert len(extractor.digest) == 16
    assert digits.test_data is not None
    x = digits.test_data(None).x[:4]
    seen = extractor.look(x)
    network = published.FeatureExtractorInceptionV3("own", ["2048", "logits_unbiased"], str(weights))
    features, logits = network(to_bytes(x))
    torch.testing.assert_close(seen.features, features)
    torch.testing.assert_close(seen.logits, logits)
    assert seen.spatial is not None
    assert seen.spatial.shape == (4, 7 * 17 * 17)
    maps: dict[str, torch.Tensor] = {}
    block = network.Mixed_6d
    block.register_forward_hook(lambda module, given, joined: maps.update(joined=joined))
    network(to_bytes(x))
    # The first branch comes first where the block joins its branches, batch-normalised and rectified.
    torch.testing.assert_close(seen.spatial, maps["joined"][:, :7].flatten(1))
    assert float(seen.spatial.min()) >= 0
    assert extractor.references.features.shape == (10, 2, 2048)
    torch.testing.assert_close(extractor.references.features[0, 0], seen.features[0])


def test_bytes_are_rounded_and_grey_is_repeated() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5)
    assert to_bytes(x)[0, :, 0].tolist() == [[0, 0, 128, 255, 255]] * 3


def test_files_that_are_no_weights_are_refused(digits: Testbed, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match="is not a file of weights"):
        inception_extractor(digits, weights=path)
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(FileFormatError, match="does not contain Inception's weights"):
        inception_extractor(digits, weights=path)
    with pytest.raises(GuideGymError, match="has no `test_data`"):
        inception_extractor(replace(digits, test_data=None), weights=path)


def test_without_a_network_the_download_says_what_to_do(digits: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(published, "load_state_dict_from_url", offline)
    with pytest.raises(GuideGymError, match=r"cannot be downloaded \(no route\); give `--inception-weights`"):
        inception_extractor(digits)
