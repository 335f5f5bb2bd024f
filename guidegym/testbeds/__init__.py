"""Models to guide and their measurement: the shipped testbeds, and the records for a user's own."""

import inspect
from pathlib import Path

import torch

from guidegym.errors import GuideGymError
from guidegym.models import Model
from guidegym.registry import find, find_registered
from guidegym.testbeds.digits import DIGITS, DIGITS_TRAINED_VE
from guidegym.testbeds.digits_words import DIGITS_WORDS, digits_from_words
from guidegym.testbeds.fashion import FASHION
from guidegym.testbeds.folder_references import references_from_folder
from guidegym.testbeds.judge import JudgeNetwork, seen_by
from guidegym.testbeds.own_images import load_own_testbed, names_folder
from guidegym.testbeds.references import References, references_from_features
from guidegym.testbeds.similarities import load_similarity
from guidegym.testbeds.testbed import Rows, Testbed
from guidegym.testbeds.under_ve import variance_exploding

IMAGE_SETS = {images.name: images for images in (FASHION, DIGITS, DIGITS_TRAINED_VE, DIGITS_WORDS)}
"""The testbeds of images, whose networks ``guidegym.train_models`` trains."""

__all__ = [
    "IMAGE_SETS",
    "JudgeNetwork",
    "References",
    "Rows",
    "Testbed",
    "digits_from_words",
    "load_model",
    "load_similarity",
    "load_testbed",
    "references_from_features",
    "references_from_folder",
    "seen_by",
    "variance_exploding",
]


def load_model(name: str, *, device: torch.device | str = "cpu", weights: str | Path | None = None) -> Model:
    """Load a model.

    Args:
        name: A registered testbed (``-ve`` is the same under a variance-exploding process), or a module or Python file whose
            function ``testbed(device)`` returns a ``Model`` or a ``Testbed``; if it also takes ``weights``, it gets the folder.
            Or a folder that ``guidegym train-models --data`` wrote.
        device: Device of the networks.
        weights: Folder with weights to use instead of the shipped ones, for testbeds of images.

    Raises:
        GuideGymError: If there is no testbed of that name, its file has no such function, or its weights cannot be
            replaced.
        DataNotFoundError: If a weight file is missing.
        FileFormatError: If a weight file is damaged.
    """
    if find_registered("testbed", name) is None and names_folder(name):
        return load_own_testbed(Path(name), torch.device(device), weights=None if weights is None else Path(weights))
    make = find("testbed", name)
    if not callable(make):
        raise GuideGymError(f"`testbed` of {name} must be a function, got {type(make).__name__}")
    taken = [one for one in inspect.signature(make).parameters if one != "weights"]
    if len(taken) != 1:
        raise GuideGymError(f"`testbed` of {name} must take one argument, the device")
    further = {}
    if weights is not None:
        if "weights" not in inspect.signature(make).parameters:
            known = ", ".join(IMAGE_SETS)
            raise GuideGymError(
                f"applies to testbeds of images only ({known}), got {str(weights)!r} for '{name}'", argument="weights"
            )
        further = {"weights": Path(weights)}
    loaded = make(torch.device(device), **further)
    if not isinstance(loaded, Model):
        raise GuideGymError(
            f"`testbed` of {name} must return a guidegym.Model or a guidegym.Testbed, got {type(loaded).__name__}"
        )
    return loaded


def load_testbed(name: str, *, device: torch.device | str = "cpu", weights: str | Path | None = None) -> Testbed:
    """Load a testbed: a model with its judge; see ``load_model``.

    Raises:
        GuideGymError: See ``load_model``, or if the model has no judge.
    """
    loaded = load_model(name, device=device, weights=weights)
    if not isinstance(loaded, Testbed):
        raise GuideGymError(f"'{name}' is a Model without a judge: measuring samples needs a guidegym.Testbed")
    return loaded
