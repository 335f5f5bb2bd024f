"""Files of chunks: each contains a digest of its tensors, so that a damaged one is resampled instead of used."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from guidegym.errors import FileFormatError
from guidegym.support.files import write_atomically
from guidegym.support.tensor_files import digest_of_tensors, read_tensors

CHECKSUM = "sha256"


def write_chunk(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a chunk's tensors with their digest, atomically."""
    kept = dict(tensors)
    write_atomically(path, save(kept, metadata={CHECKSUM: digest_of_tensors(kept)}))


@functools.lru_cache(maxsize=4096)
def _rows_in(path: Path, _state: tuple[int, int]) -> int:
    """Return the number of valid rows in a chunk's file: none if its content was altered."""
    try:
        header, tensors = read_tensors(path)
    except FileFormatError:
        return 0
    if header.get(CHECKSUM) != digest_of_tensors(tensors):
        print(f"note: {path} is damaged or of an earlier version; sampling it again", file=sys.stderr)
        return 0
    return len(tensors["features"])


def is_there(path: Path, size: int) -> bool:
    """Return whether a chunk was already sampled: false if it is missing or damaged, or has fewer rows."""
    try:
        state = path.stat()
    except OSError:
        return False
    return _rows_in(path, (state.st_mtime_ns, state.st_size)) >= size  # checked once, unless the file changes


def read_chunk(path: Path, size: int) -> dict[str, Tensor]:
    """Return the first rows of a chunk, and their share of its seconds."""
    _, tensors = read_tensors(path)
    tensors["seconds"] = tensors["seconds"] * size / len(tensors["features"])
    return {name: value if name in ("shown", "seconds") else value[:size] for name, value in tensors.items()}
