"""The record of how one network is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from guidegym.testbeds.images import ImageSet
from guidegym.training.loss import Loss
from guidegym.training.sizes import Kind, Size
from guidegym.training.train import TrainingSettings

Batches = Literal["labelled", "both", "all"]
"""Which rows a batch is made of: those with a label, as many of those as of all the data, or all the data."""
Needed = Mapping[str, nn.Module]
"""Trained networks that a recipe needs, by name."""


@dataclass(frozen=True)
class Recipe:
    """What is built, what it minimises, on which batches, and for how long.

    Args:
        build: Makes the network, freshly initialised.
        loss: Makes what is minimised, from the networks it needs.
        settings: Loop settings of the budget.
        says: What the loss is, in words, for the weight file.
        batches: Which rows a batch is made of.
        needs: Networks that must be trained before, whose weights must lie in the same folder.
        weight: Weight of the part of the loss that stands beside cross-entropy; None where there is no such part.
        about: Settings of the recipe that are not in the loop settings, for the weight file.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Needed], Loss]
    settings: TrainingSettings
    says: str
    batches: Batches = "labelled"
    needs: tuple[str, ...] = ()
    weight: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What the recipes of a testbed are made from: its images, sizes, the loop settings of a budget, and a weight asked for."""

    images: ImageSet
    size: Size
    budget: Mapping[Kind, TrainingSettings]
    weight: float | None

    def weighed(self, own: float) -> float:
        """Return the weight of a part of a loss: the one asked for, or its own."""
        return own if self.weight is None else self.weight
