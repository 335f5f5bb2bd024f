"""Class energies: a classifier's mean energy on real data of each class, stored beside its weights."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.errors import FileFormatError
from guidegym.metrics.accuracy import logits_at
from guidegym.metrics.energies import energies_of
from guidegym.support.files import read_json, write_atomically
from guidegym.testbeds.references import file_digest

FORMAT = "guidegym-energies/1"


@torch.inference_mode()
def class_energies(
    classifier: nn.Module, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, num_classes: int
) -> Float[Tensor, " classes"]:
    r"""Return the mean of :math:`E(x) = -\log \sum_y e^{f(x, 0)_y}` over the clean rows of each class.

    Source:
        Wang 2024, section 4.5: the class-wise energy :math:`E^*_c`.
    """
    energy, _ = energies_of(logits_at(classifier, x, 0), labels)
    return torch.stack([energy[labels == label].double().mean() for label in range(num_classes)])


def save_energies(energies: dict[str, Float[Tensor, " classes"]], folder: Path) -> Path:
    """Write ``energies.json`` beside the classifiers' weight files, each entry with the digest of its file."""
    classifiers = {
        name: {
            "weights": file_digest(folder / f"{name}.safetensors"),
            "energies": [round(float(one), 6) for one in own],
        }
        for name, own in energies.items()
    }
    path = folder / "energies.json"
    content = {"format": FORMAT, "classifiers": classifiers}
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def load_energies(
    folder: Path, *, num_classes: int, device: torch.device | str
) -> dict[str, Float[Tensor, " classes"]]:
    """Read the class energies of a folder of weights; empty if there are none.

    Raises:
        FileFormatError: If the file is damaged, or its values belong to other weights than those beside it.
    """
    path = folder / "energies.json"
    if not path.is_file():
        return {}
    try:
        content: Any = read_json(path)
        if content["format"] != FORMAT:
            raise FileFormatError(f"{path} must have format {FORMAT!r}, got {content['format']!r}")
        found = {
            name: ([float(one) for one in own["energies"]], own["weights"])
            for name, own in content["classifiers"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is not a readable file of class energies: {error!r}") from error
    for name, (energies, weights) in found.items():
        if len(energies) != num_classes or not all(map(math.isfinite, energies)):
            raise FileFormatError(f"{path}: '{name}' must have {num_classes} finite energies, got {energies}")
        file = folder / f"{Path(name).name}.safetensors"
        if not file.is_file():
            raise FileFormatError(f"{path} holds energies of '{name}', whose {file.name} is missing; rebuild them")
        if weights != file_digest(file):
            raise FileFormatError(f"{path} holds energies of weights other than those of '{name}'; rebuild them")
    return {name: torch.tensor(energies, device=device) for name, (energies, _) in found.items()}
