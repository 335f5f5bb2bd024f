"""Labelled images as tensors, and the labels that training may use."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from guidegym.errors import GuideGymError


@dataclass(frozen=True, eq=False)
class ImageData:
    """A labelled image data set.

    Args:
        train_images: Training images, levels 0..255 of each channel.
        train_labels: Their classes.
        test_images: Test images.
        test_labels: Their classes.
        digest: SHA-256 over the four arrays, recorded in weight files.
    """

    train_images: UInt8[Tensor, " train channels height width"]
    train_labels: Int[Tensor, " train"]
    test_images: UInt8[Tensor, " test channels height width"]
    test_labels: Int[Tensor, " test"]
    digest: str


def to_unit_range(images: UInt8[Tensor, " batch *event"]) -> Tensor:
    """Map grey levels 0..255 to [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_grey_levels(x: Float[Tensor, " batch *event"]) -> UInt8[Tensor, " batch *event"]:
    """Map [-1, 1] to grey levels 0..255, rounded; values out of range are clamped, and NaN becomes grey."""
    levels: Tensor = ((x.nan_to_num(0.0).clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8)


def hide_labels(
    labels: Int[Tensor, " train"], fraction: float, *, num_classes: int, seed: int
) -> Int[Tensor, " train"]:
    """Return labels with all but a share hidden (-1), the same share in each class.

    Args:
        labels: Classes.
        fraction: Share of labels that is kept, in (0, 1]; at least one per class.
        num_classes: Number of classes.
        seed: Selects the rows: with the same seed, a larger share includes the rows of a smaller one.

    Raises:
        GuideGymError: If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise GuideGymError(f"the share of labels must be in (0, 1], got {fraction}")
    told = torch.full_like(labels, -1)
    generator = torch.Generator().manual_seed(seed)
    for label in range(num_classes):
        rows = torch.nonzero(labels == label)[:, 0]
        order = rows[torch.randperm(len(rows), generator=generator)]
        told[order[: max(round(fraction * len(rows)), 1)]] = label
    return told
