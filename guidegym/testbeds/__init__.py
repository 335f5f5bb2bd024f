"""What is guided: the shipped testbeds and the record that a user's own is made of."""

import inspect
from pathlib import Path

import torch

from guidegym.diffusion import VEProcess
from guidegym.errors import GuideGymError
from guidegym.files import import_file
from guidegym.testbeds.digits import DIGITS, DIGITS_TRAINED_VE
from guidegym.testbeds.fashion import FASHION
from guidegym.testbeds.gaussians import load_gaussians, load_imperfect
from guidegym.testbeds.images import load_images_testbed
from guidegym.testbeds.references import References, references_from_features
from guidegym.testbeds.similarities import load_similarity
from guidegym.testbeds.testbed import JudgeNetwork, Rows, Testbed, judge_features
from guidegym.testbeds.variance_exploding import variance_exploding

IMAGE_SETS = {images.name: images for images in (FASHION, DIGITS, DIGITS_TRAINED_VE)}
"""The testbeds of images, whose networks ``guidegym.train_models`` trains."""
TESTBEDS = (
    *("fashion", "fashion-ve", "digits", "digits-ve", "digits-trained-ve"),
    *("gaussians", "gaussians-ve", "gaussians-imperfect"),
)

__all__ = [
    "IMAGE_SETS",
    "TESTBEDS",
    "JudgeNetwork",
    "References",
    "Rows",
    "Testbed",
    "judge_features",
    "load_similarity",
    "load_testbed",
    "references_from_features",
    "variance_exploding",
]


def load_testbed(name: str, *, device: torch.device | str = "cpu", weights: str | Path | None = None) -> Testbed:
    """Load a testbed.

    Args:
        name: One of ``TESTBEDS`` (``-ve`` is the same under a variance-exploding process), or a path to a Python file whose
            function ``testbed(device)`` returns a ``Testbed``.
        device: Where the networks go.
        weights: Folder with other weights than the shipped ones, for testbeds of images.

    Raises:
        GuideGymError: If there is no testbed of that name, its file has no such function, or it has no weights to
            replace.
        DataNotFoundError: If a weight file is missing.
        FileFormatError: If a weight file is damaged.
    """
    target = torch.device(device)
    folder = None if weights is None else Path(weights)
    if name in IMAGE_SETS:
        return load_images_testbed(IMAGE_SETS[name], target, weights=folder)
    if name in ("fashion-ve", "digits-ve"):
        return variance_exploding(load_images_testbed(IMAGE_SETS[name.removesuffix("-ve")], target, weights=folder))
    if weights is not None:
        known = ", ".join(IMAGE_SETS)
        raise GuideGymError(
            f"is for the testbeds of images ({known}), got {str(weights)!r} for '{name}'", argument="weights"
        )
    if name == "gaussians-ve":
        return load_gaussians(target, process=VEProcess())
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
