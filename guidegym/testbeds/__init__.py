"""What is guided: the shipped testbeds and the record that a user's own is made of."""

import inspect
from pathlib import Path

import torch

from guidegym.errors import GuideGymError
from guidegym.files import import_file
from guidegym.testbeds.fashion import load_fashion
from guidegym.testbeds.gaussians import load_gaussians, load_imperfect
from guidegym.testbeds.references import References, references_from_features
from guidegym.testbeds.testbed import Denoiser, JudgeNetwork, Testbed, judge_features

TESTBEDS = ("fashion", "gaussians", "gaussians-imperfect")

__all__ = [
    "TESTBEDS",
    "Denoiser",
    "JudgeNetwork",
    "References",
    "Testbed",
    "judge_features",
    "load_testbed",
    "references_from_features",
]


def load_testbed(name: str, *, device: torch.device | str = "cpu", weights: str | Path | None = None) -> Testbed:
    """Load a testbed.

    Args:
        name: ``fashion``, ``gaussians``, ``gaussians-imperfect``, or a path to a Python file whose function
            ``testbed(device)`` returns a ``Testbed``.
        device: Where the networks go.
        weights: Folder with other weights than the shipped ones, for ``fashion``.

    Raises:
        GuideGymError: If there is no testbed of that name, its file has no such function, or it has no weights to
            replace.
        DataNotFoundError: If a weight file is missing.
        FileFormatError: If a weight file is damaged.
    """
    target = torch.device(device)
    if name == "fashion":
        return load_fashion(target, weights=None if weights is None else Path(weights))
    if weights is not None:
        raise GuideGymError(f"`weights` is for the testbed 'fashion' only, got {str(weights)!r} for '{name}'")
    if name == "gaussians":
        return load_gaussians(target)
    if name == "gaussians-imperfect":
        return load_imperfect(target)
    if not name.endswith(".py"):
        raise GuideGymError(f"unknown testbed '{name}'; known are {', '.join(TESTBEDS)} and paths to Python files")
    make = getattr(import_file(Path(name)), "testbed", None)
    if not callable(make):
        raise GuideGymError(f"{name} has no function `testbed`")
    if len(inspect.signature(make).parameters) != 1:
        raise GuideGymError(f"`testbed` of {name} must take one argument, the device")
    loaded = make(target)
    if not isinstance(loaded, Testbed):
        raise GuideGymError(f"`testbed` of {name} must return a guidegym.Testbed, got {type(loaded).__name__}")
    return loaded
