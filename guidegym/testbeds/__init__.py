"""What is guided: the shipped testbeds and the record that a user's own is made of."""

from pathlib import Path

import torch

from guidegym.errors import GuideGymError
from guidegym.testbeds.fashion import load_fashion
from guidegym.testbeds.gaussians import load_gaussians
from guidegym.testbeds.references import References, references_from_features
from guidegym.testbeds.testbed import Denoiser, JudgeNetwork, Testbed

TESTBEDS = ("fashion", "gaussians")

__all__ = [
    "TESTBEDS",
    "Denoiser",
    "JudgeNetwork",
    "References",
    "Testbed",
    "load_testbed",
    "references_from_features",
]


def load_testbed(name: str, *, device: torch.device | str = "cpu", weights: str | Path | None = None) -> Testbed:
    """Load a shipped testbed.

    Args:
        name: ``gaussians`` or ``fashion``.
        device: Where the networks go.
        weights: Folder with other weights than the shipped ones, for ``fashion``.

    Raises:
        GuideGymError: If there is no testbed of that name, or it has no weights to replace.
        DataNotFoundError: If a weight file is missing.
        FileFormatError: If a weight file is damaged.
    """
    if name not in TESTBEDS:
        raise GuideGymError(f"unknown testbed '{name}'; known are {', '.join(TESTBEDS)}")
    target = torch.device(device)
    if name == "fashion":
        return load_fashion(target, weights=None if weights is None else Path(weights))
    if weights is not None:
        raise GuideGymError(f"testbed '{name}' is exact and has no weights, got {str(weights)!r}")
    return load_gaussians(target)
