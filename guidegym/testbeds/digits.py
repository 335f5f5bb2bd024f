"""The ``digits`` testbed: scikit-learn's 8x8 digits, small enough to train every network in minutes."""

from dataclasses import replace
from pathlib import Path

import torch

from guidegym.diffusion import VEProcess, VPProcess
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.testbeds.digits_data import load_digits
from guidegym.testbeds.image_data import ImageData
from guidegym.testbeds.images import ImageSet, load_images_testbed
from guidegym.testbeds.testbed import Testbed
from guidegym.testbeds.under_ve import variance_exploding


def _load(folder: Path | None) -> ImageData:
    if folder is not None:
        raise GuideGymError(f"the digits come with scikit-learn and are not read from a folder, got {str(folder)!r}")
    return load_digits()


DIGITS = ImageSet(
    name="digits",
    class_names=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    event_shape=(1, 8, 8),
    process=VPProcess("cosine"),
    load=_load,
)
DIGITS_TRAINED_VE = replace(
    DIGITS,
    name="digits-trained-ve",
    process=VEProcess(),
    networks=("denoiser", "time_dependent", "self_calibrated"),
    judged_as="digits",
)
"""The same data, with networks trained under a variance-exploding process."""


@register("testbed", "digits")
def digits(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed."""
    return load_images_testbed(DIGITS, device, weights=weights)


@register("testbed", "digits-ve")
def digits_ve(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed with its networks used under a variance-exploding process."""
    return variance_exploding(digits(device, weights))


@register("testbed", "digits-trained-ve")
def digits_trained_ve(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed whose networks were trained under a variance-exploding process."""
    return load_images_testbed(DIGITS_TRAINED_VE, device, weights=weights)
