"""The ``fashion`` testbed: Fashion-MNIST with networks trained by this package's own recipes."""

from pathlib import Path

import torch

from guidegym.diffusion import VPProcess
from guidegym.registry import register
from guidegym.testbeds.fashion_data import load_fashion_mnist
from guidegym.testbeds.images import ImageSet, load_images_testbed
from guidegym.testbeds.testbed import Testbed
from guidegym.testbeds.under_ve import variance_exploding

FASHION = ImageSet(
    name="fashion",
    class_names=(
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    event_shape=(1, 28, 28),
    process=VPProcess("cosine"),
    load=load_fashion_mnist,
)


@register("testbed", "fashion")
def fashion(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed."""
    return load_images_testbed(FASHION, device, weights=weights)


@register("testbed", "fashion-ve")
def fashion_ve(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed with its networks used under a variance-exploding process."""
    return variance_exploding(fashion(device, weights))
