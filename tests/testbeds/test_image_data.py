import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from guidegym import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.testbeds import fashion_data
from guidegym.testbeds.fashion_data import load_fashion_mnist, read_idx
from guidegym.testbeds.image_data import hide_labels, to_unit_range


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def _folder(path: Path, *, num_labels: int = 3) -> Path:
    generator = np.random.default_rng(0)
    for split, count in (("train", 3), ("t10k", 2)):
        images = generator.integers(0, 256, (count, 28, 28))
        (path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
        labels = np.arange(num_labels if split == "train" else count)
        (path / f"{split}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return path


def test_a_folder_of_four_idx_files_is_read_plain_or_gzipped(tmp_path: Path) -> None:
    data = load_fashion_mnist(_folder(tmp_path))
    assert data.train_images.shape == (3, 1, 28, 28)
    assert data.test_labels.tolist() == [0, 1]
    assert len(data.digest) == 64
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
    assert torch.equal(data.train_images[:, 0], torch.from_numpy(images).to(torch.uint8))


def test_grey_levels_map_to_the_unit_range() -> None:
    got = to_unit_range(torch.tensor([0, 255], dtype=torch.uint8))
    assert got.tolist() == [-1.0, 1.0]


def test_without_any_data_the_error_names_all_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_data, "DEBIAN_FOLDER", tmp_path / "no-debian")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "torchvision.datasets.mnist.download_and_extract_archive",
        lambda *args, **kwargs: (_ for _ in ()).throw(OSError("no network")),
    )
    with pytest.raises(DataNotFoundError) as caught:
        load_fashion_mnist()
    message = str(caught.value)
    assert "--data" in message
    assert "dataset-fashion-mnist" in message
    assert "torchvision" in message
    assert "\n" not in message


def test_bad_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="must hold the four files"):
        load_fashion_mnist(tmp_path)
    path = tmp_path / "x"
    path.write_bytes(b"hello world")
    with pytest.raises(FileFormatError, match="not an idx file"):
        read_idx(path)
    path.write_bytes(_idx(np.zeros((2, 3)))[:-1])
    with pytest.raises(FileFormatError, match="is truncated: 5 bytes"):
        read_idx(path)
    packed = tmp_path / "y.gz"
    packed.write_bytes(gzip.compress(_idx(np.zeros((2, 3))))[:-9])
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_idx(packed)
    with pytest.raises(FileFormatError, match="are inconsistent"):
        load_fashion_mnist(_folder(tmp_path, num_labels=5))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(_idx(np.array([0, 200, 1])))
    with pytest.raises(FileFormatError, match=r"28x28 in classes 0\.\.9, got 28x28 and classes up to 200"):
        load_fashion_mnist(tmp_path)
    (_folder(tmp_path) / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(np.zeros((3, 7, 9)))))
    with pytest.raises(FileFormatError, match="got 7x9 and classes up to 2"):
        load_fashion_mnist(tmp_path)


def test_a_share_of_the_labels_is_the_same_share_of_each_class_and_nested() -> None:
    labels = torch.arange(1000) % 10
    few, more = (hide_labels(labels, share, num_classes=10, seed=0) for share in (0.05, 0.2))
    for told, count in ((few, 5), (more, 20)):
        known = told >= 0
        assert torch.equal(told[known], labels[known])
        assert told[known].bincount().tolist() == [count] * 10
    assert bool((more[few >= 0] >= 0).all())
    assert torch.equal(hide_labels(labels, 1.0, num_classes=10, seed=0), labels)
    assert bool((hide_labels(labels, 1e-6, num_classes=10, seed=0) >= 0).sum() == 10)
    for wrong in (0.0, -1.0, 1.5):
        with pytest.raises(GuideGymError, match="must be in"):
            hide_labels(labels, wrong, num_classes=10, seed=0)
