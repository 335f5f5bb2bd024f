"""Similarity of classes: descriptions in words, and matrices of their cosines under a text encoder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.support.files import write_atomically

SHIPPED = Path(__file__).parent / "similarity"
"""Descriptions and matrices of the shipped testbeds."""
FORMAT = "guidegym-similarity/1"
DESCRIPTIONS = "guidegym-descriptions/1"
DECIMALS = 6
"""Decimals of a cosine in a file."""


def cosines(embeddings: Float[Tensor, " classes dim"]) -> Float[Tensor, " classes classes"]:
    r"""Return :math:`\mathrm{sim}_{i, j} = v_i \cdot v_j / (\|v_i\| \|v_j\|)`, in [-1, 1], float64.

    Source:
        Dinh et al. 2023, section 3.1.
    """
    unit = functional.normalize(embeddings.double(), dim=1)
    return (unit @ unit.T).clamp(-1, 1)


def load_descriptions(path: Path) -> dict[str, str]:
    """Read the description of each class.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is not a file of descriptions.
    """
    content = _read(path, DESCRIPTIONS)
    classes = content.get("classes")
    if not isinstance(classes, dict) or len(classes) < 2 or not all(map(_is_text, [*classes, *classes.values()])):
        raise FileFormatError(f"{path}: `classes` must have two or more non-empty texts by class name")
    return classes


def save_similarity(
    path: Path, matrix: Float[Tensor, " classes classes"], *, class_names: Sequence[str], encoder: str
) -> None:
    """Write a matrix of cosines with the names of its classes and of the encoder, atomically."""
    content = {
        "format": FORMAT,
        "encoder": encoder,
        "classes": list(class_names),
        "cosines": [[round(float(value), DECIMALS) for value in row] for row in matrix],
    }
    rows = json.dumps(content, indent=2).replace("\n      ", " ").replace("\n    ]", " ]")
    write_atomically(path, (rows + "\n").encode())


def load_similarity(path: Path, *, class_names: Sequence[str]) -> Float[Tensor, " classes classes"]:
    """Read a matrix of cosines, float64.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is not for these classes, or its values are not cosines.
    """
    content = _read(path, FORMAT)
    if content.get("classes") != list(class_names):
        raise FileFormatError(f"{path} is for the classes {content.get('classes')}, not {list(class_names)}")
    try:
        matrix = torch.tensor(content["cosines"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: `cosines` must be a matrix of numbers") from error
    sound = matrix.shape == (len(class_names), len(class_names)) and bool((matrix.abs() <= 1 + 1e-6).all())
    if not sound or not torch.allclose(matrix, matrix.T) or not bool((matrix.diagonal() > 0.99).all()):
        raise FileFormatError(f"{path}: `cosines` must be symmetric, in [-1, 1], and 1 on the diagonal")
    return matrix


def shipped_similarities(testbed: str, class_names: Sequence[str]) -> Mapping[str, Float[Tensor, " classes classes"]]:
    """Return the shipped matrices of a testbed, by encoder name."""
    prefix = f"{testbed}-"
    found = sorted(path for path in SHIPPED.glob(f"{prefix}*.json") if not path.stem.endswith("-descriptions"))
    return {path.stem.removeprefix(prefix): load_similarity(path, class_names=class_names) for path in found}


def shipped_descriptions(testbed: str) -> Path:
    """Return the file with the shipped descriptions of a testbed's classes.

    Raises:
        GuideGymError: If there is none.
    """
    path = SHIPPED / f"{testbed}-descriptions.json"
    if not path.is_file():
        known = ", ".join(one.stem.removesuffix("-descriptions") for one in sorted(SHIPPED.glob("*-descriptions.json")))
        raise GuideGymError(
            f"there are no shipped descriptions for '{testbed}', only for {known}; give `--descriptions`"
        )
    return path


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Reject an object with a repeated key: the second value would silently replace the first."""
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the key '{twice[0]}' is repeated in one object")
    return dict(pairs)


def _read(path: Path, wanted: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataNotFoundError(f"no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != wanted:
        found = content.get("format") if isinstance(content, dict) else None
        raise FileFormatError(f"{path} must have format '{wanted}', got {found!r}")
    return content
