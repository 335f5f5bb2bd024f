"""Fashion-MNIST as tensors, from a folder, Debian's package, or torchvision's download.

Only training needs the data set; sampling and tuning run on what the package ships.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from guidegym.errors import DataNotFoundError, FileFormatError
from guidegym.testbeds.image_data import ImageData

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}

SIZE = (28, 28)
NUM_CLASSES = 10


def read_idx(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Read one idx file of unsigned bytes, gzipped or not.

    Raises:
        FileFormatError: If it is not an idx file of unsigned bytes or is truncated.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise FileFormatError(f"{path} cannot be read: {error}") from error
    if len(raw) < 4 or len(raw) < 4 + 4 * raw[3] or raw[:3] != b"\x00\x00\x08":
        raise FileFormatError(f"{path} is not an idx file of unsigned bytes")
    num_dims = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dims))
    body = np.frombuffer(raw, dtype=np.uint8, offset=min(4 + 4 * num_dims, len(raw)))
    if body.size != math.prod(shape):
        raise FileFormatError(f"{path} is truncated: {body.size} bytes of data, but its header says {shape}")
    return body.reshape(shape)


def _find(folder: Path) -> dict[str, Path] | None:
    """Return the four files of ``folder`` by role, or None if one is missing."""
    found: dict[str, Path] = {}
    for role, name in FILES.items():
        matches = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        if not matches:
            return None
        found[role] = matches[0]
    return found


def _locate(folder: Path | None) -> dict[str, Path]:
    """Return the four files, from ``folder`` if given, else Debian's, else torchvision's download."""
    if folder is not None:
        found = _find(folder)
        if found is None:
            wanted = ", ".join(FILES.values())
            raise DataNotFoundError(
                f"{folder} must hold the four files {wanted} (each plain or .gz); images of your own need `--image-size`"
            )
        return found
    found = _find(DEBIAN_FOLDER)
    if found is not None:
        return found
    cache = Path.home() / ".cache" / "guidegym"
    raw = cache / "FashionMNIST" / "raw"
    found = _find(raw)
    if found is not None:
        return found
    try:
        # Imported here: torchvision takes a second to import and is needed only here.
        from torchvision.datasets import FashionMNIST

        FashionMNIST(str(cache), download=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataNotFoundError(
            "Fashion-MNIST was not found: no folder given by --data, no Debian package "
            f"dataset-fashion-mnist ({DEBIAN_FOLDER}), no download by torchvision ({reason})"
        ) from error
    found = _find(raw)
    if found is None:
        raise DataNotFoundError(f"torchvision's download left no idx files in {raw}")
    return found


def load_fashion_mnist(folder: Path | None = None) -> ImageData:
    """Load Fashion-MNIST: 60 000 training and 10 000 test images of 28x28 in ten classes.

    Args:
        folder: Folder with the four idx files (plain or gzipped). Without it, Debian's ``dataset-fashion-mnist`` is
            used if it is installed, else torchvision downloads the files to ``~/.cache/guidegym``.

    Raises:
        DataNotFoundError: If the data is in none of these places.
        FileFormatError: If a file is damaged or the four are inconsistent.
    """
    arrays = {role: read_idx(path) for role, path in _locate(folder).items()}
    digest = hashlib.sha256()
    for role in FILES:
        digest.update(arrays[role].tobytes())
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(images) == 0:
            raise FileFormatError(f"the {split} files are inconsistent: images {images.shape}, labels {labels.shape}")
        if images.shape[1:] != SIZE or labels.max() >= NUM_CLASSES:
            raise FileFormatError(
                f"the {split} files must hold images of {SIZE[0]}x{SIZE[1]} in classes 0..{NUM_CLASSES - 1}, got "
                f"{images.shape[1]}x{images.shape[2]} and classes up to {labels.max()}"
            )
    tensors = {role: torch.from_numpy(array.copy()) for role, array in arrays.items()}
    return ImageData(
        train_images=tensors["train_images"][:, None],
        train_labels=tensors["train_labels"].long(),
        test_images=tensors["test_images"][:, None],
        test_labels=tensors["test_labels"].long(),
        digest=digest.hexdigest(),
    )
