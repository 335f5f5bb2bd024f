from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guidegym import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.metrics import moments
from guidegym.testbeds import references_from_features
from guidegym.testbeds.references import load_references, save_references

FEATURES = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + torch.arange(60)[:, None] % 3
LABELS = torch.arange(60) % 3


def test_pooled_moments_are_those_of_all_rows_together() -> None:
    references = references_from_features(FEATURES, LABELS, num_classes=3, kept=10, extractor="x")
    mean, covariance = references.pooled
    wanted_mean, wanted_covariance = moments(FEATURES)
    torch.testing.assert_close(mean, wanted_mean)
    torch.testing.assert_close(covariance, wanted_covariance, rtol=0.06, atol=0.03)  # 20 rows per class: 1/19 for 1/20
    assert references.features.shape == (3, 10, 4)


def test_references_survive_the_round_trip_and_know_their_judge(tmp_path: Path) -> None:
    path = tmp_path / "references.safetensors"
    with pytest.raises(DataNotFoundError, match="no reference statistics"):
        load_references(path, extractor="a")
    references = references_from_features(FEATURES, LABELS, num_classes=3, kept=10, extractor="a")
    save_references(references, path)
    loaded = load_references(path, extractor="a")
    torch.testing.assert_close(loaded.features, references.features, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(loaded.mean, references.mean, rtol=1e-6, atol=1e-6)
    with pytest.raises(FileFormatError, match="another judge"):
        load_references(path, extractor="b")
    path.write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_references(path, extractor="a")
    save_file({name: torch.zeros(1) for name in ("features", "mean", "covariance")}, path)
    with pytest.raises(FileFormatError, match="must have format"):
        load_references(path, extractor="a")


@pytest.mark.parametrize("size", [1e-7, 1.0, 1e5, 1e15])
def test_references_keep_features_of_any_size(tmp_path: Path, size: float) -> None:
    features = size * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    made = references_from_features(features, torch.arange(40) % 2, num_classes=2, kept=9, extractor="judge")
    save_references(made, tmp_path / "references.safetensors")
    read = load_references(tmp_path / "references.safetensors", extractor="judge")
    torch.testing.assert_close(read.features, made.features, rtol=2e-3, atol=1e-3 * size)


def test_references_too_large_for_single_precision_are_refused(tmp_path: Path) -> None:
    features = 1e25 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    made = references_from_features(features, torch.arange(40) % 2, num_classes=2, kept=9, extractor="judge")
    with pytest.raises(GuideGymError, match="`covariance of the references` must be finite"):
        save_references(made, tmp_path / "references.safetensors")
    assert not (tmp_path / "references.safetensors").exists()
