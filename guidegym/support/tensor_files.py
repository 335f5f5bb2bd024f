"""Reading of safetensors files, with one-line errors for all faults."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from guidegym.errors import FileFormatError


def read_header(path: Path) -> dict[str, str]:
    """Return a safetensors file's metadata, without reading its tensors.

    Raises:
        FileFormatError: If it is not a regular file (a pipe would block forever), or is damaged.
    """
    return _read(path, torch.device("cpu"), tensors=False)[0]


def read_tensors(path: Path, *, device: torch.device | str = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return a safetensors file's metadata and its tensors.

    Raises:
        FileFormatError: If it is not a regular file, or is damaged.
    """
    return _read(path, torch.device(device), tensors=True)


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of tensors with their names, types and shapes; it is equal for equal tensors only."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        # As bytes: NumPy has no bfloat16.
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, device: torch.device, *, tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        if not path.is_file():
            raise FileFormatError(f"{path} is not a readable safetensors file: there is no regular file of that name")
        with safe_open(str(path), framework="pt") as file:
            names = file.keys() if tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name).to(device) for name in names}
    except FileFormatError:
        raise
    except (SafetensorError, OSError, ValueError) as error:  # a name that is not valid text is a ValueError
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}") from error
