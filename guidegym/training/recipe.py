"""The record of one network's training recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from guidegym.testbeds.images import ImageSet
from guidegym.training.loss import Loss
from guidegym.training.sizes import Kind, Size
from guidegym.training.train import TrainingSettings

Batches = Literal["labelled", "both", "all"]
"""The rows of a batch: labelled ones, equally many labelled ones and ones from all data, or ones from all data."""
Needed = Mapping[str, nn.Module]
"""Trained networks that a recipe needs, by name."""


@dataclass(frozen=True)
class Recipe:
    """A training recipe: network, loss, batches and budget.

    Args:
        build: Builds the freshly initialised network.
        loss: Builds the loss from the networks it needs.
        settings: Loop settings of the budget.
        says: The loss in words, for the weight file.
        batches: The rows of a batch.
        needs: Networks that must be trained before, with weights in the same folder.
        weight: Weight of the loss term added to cross-entropy; None if there is none.
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
    """The inputs of a testbed's recipes: its images, sizes, the loop settings of a budget, and a requested weight."""

    images: ImageSet
    size: Size
    budget: Mapping[Kind, TrainingSettings]
    weight: float | None

    def weighed(self, own: float) -> float:
        """Return the weight of a loss term: the requested one, or its own."""
        return own if self.weight is None else self.weight
