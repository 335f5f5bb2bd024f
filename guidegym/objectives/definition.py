"""An objective: one number per finished sample, or one for the whole set."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.guidance import Guide
from guidegym.models import Model
from guidegym.registry import find, find_registered, register
from guidegym.support.settings import check_name, plain_fields, shown
from guidegym.testbeds import Testbed
from guidegym.testbeds.judge import Seen


@dataclass(frozen=True, eq=False)
class Finished:
    """Finished samples, and the context to measure them in.

    Args:
        x: The samples, in the model's data range.
        labels: Wanted class of each sample.
        model: The model they were sampled from; a ``Testbed`` if a judge or references are needed.
        guide: The guide they were sampled with; None for no guide.
        group: Samples of one group are alternatives to each other, not a set: no two of a group are scored together. None if
            each sample is independent.
        evaluations: Network evaluations that each sample took, forward and backward; None if unknown.
    """

    x: Float[Tensor, " batch *event"]
    labels: Int[Tensor, " batch"]
    model: Model
    guide: Guide | None = None
    group: Int[Tensor, " batch"] | None = None
    evaluations: Int[Tensor, " batch"] | None = None

    @classmethod
    def blank(cls, model: Model, *, per_class: int = 2) -> "Finished":
        """Return samples that are 0 everywhere and cost nothing, to try objectives on and to have a bad set."""
        labels = torch.arange(per_class * model.num_classes, device=model.device) % model.num_classes
        x = torch.zeros(len(labels), *model.event_shape, dtype=model.dtype, device=model.device)
        return cls(x, labels, model, evaluations=torch.zeros_like(labels))

    @functools.cached_property
    def seen(self) -> Seen:
        """The judge's outputs: features, logits, and spatial features if it has them."""
        return self.testbed.seen(self.x)

    @functools.cached_property
    def images(self) -> Float[Tensor, " batch ..."]:
        """The samples as images: decoded if they are latents."""
        return self.model.images(self.x)

    @property
    def texts(self) -> list[str]:
        """The name of each sample's class, or its prompt."""
        return [self.model.class_names[label] for label in self.labels.tolist()]

    @property
    def testbed(self) -> Testbed:
        """The model, with its judge and its references.

        Raises:
            GuideGymError: If the model has no judge.
        """
        if not isinstance(self.model, Testbed):
            raise GuideGymError(
                f"model '{self.model.name}' has no judge and no references: pass your own objective, or make it a Testbed"
            )
        return self.model

    def rows(self, rows: Int[Tensor, " rows"]) -> "Finished":
        """Return some of the samples."""
        group = None if self.group is None else self.group[rows]
        evaluations = None if self.evaluations is None else self.evaluations[rows]
        part = replace(self, x=self.x[rows], labels=self.labels[rows], group=group, evaluations=evaluations)
        if "seen" in vars(self):  # the judge evaluates each sample once
            features, logits, spatial = self.seen
            vars(part)["seen"] = Seen(features[rows], logits[rows], None if spatial is None else spatial[rows])
        if "images" in vars(self):  # and each is decoded once
            vars(part)["images"] = self.images[rows]
        return part


WORST = 1000.0
"""Absolute value of the floor of objectives that do not set one."""
Function: TypeAlias = Callable[[Finished], Tensor]
"""``finished samples -> (batch,)``, one number per sample, or ``()``, one for the whole set."""


@dataclass(frozen=True)
class Objective:
    """A measure of finished samples.

    Args:
        name: Its name in tables, files and command lines: letters, digits, ``_``, ``-`` and ``.``.
        function: Returns one number per sample, or one for the whole set.
        direction: ``maximize`` or ``minimize``.
        floor: The worst value, assigned to a failed sample and to a set with a failed sample; None for 1000 on the bad side of 0.
            Rewards are clipped to it and to its negative.
        title: Heading in tables; the name by default.
        credit: For a number of the whole set, how it is distributed over the samples as a reward: values whose mean is that
            number. None gives every sample the number itself.
        influence: The same, with values whose spread over samples shows how well the number is known, to first order.

    Raises:
        GuideGymError: If the name is malformed, the direction unknown, or the floor not finite.
    """

    name: str
    function: Function
    direction: Literal["maximize", "minimize"] = "maximize"
    floor: float | None = None
    title: str = ""
    credit: Function | None = None
    influence: Function | None = None

    @property
    def __wrapped__(self) -> Function:
        """The function of the objective."""
        return self.function

    def __post_init__(self) -> None:
        plain_fields(self)
        check_name(self.name)
        if not callable(self.function):
            raise GuideGymError(f"`function` must be a function of finished samples, got {shown(self.function)}")
        if self.direction not in ("maximize", "minimize"):
            raise GuideGymError(f"`direction` must be 'maximize' or 'minimize', got {self.direction!r}")

        if self.floor is None:
            object.__setattr__(self, "floor", -WORST * self.sign)

    @property
    def sign(self) -> float:
        """1 if higher is better, -1 if lower is."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def least_reward(self) -> float:
        """The floor as a reward, where higher is better."""
        return self.sign * (self.floor if self.floor is not None else -WORST * self.sign)

    @torch.no_grad()  # a network's activations for all samples together may not fit into memory
    def __call__(self, finished: Finished) -> Tensor:
        """Return the number per sample, or that of the whole set, float64.

        Raises:
            GuideGymError: If the function returns another shape.
        """
        return self._checked(self.function(finished), finished)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a registered objective by its name: its function has the same name in its module."""
        if find_registered("objective", self.name) is self:
            return find_objective, (self.name,)
        return super().__reduce__()

    def _checked(self, found: Any, finished: Finished) -> Tensor:
        values = torch.as_tensor(found)
        if values.shape not in ((), (len(finished.x),)):
            raise GuideGymError(
                f"objective '{self.name}' must return a number, or one for each of {len(finished.x)} samples, "
                f"got shape {tuple(values.shape)}"
            )
        return values

    @torch.no_grad()
    def reward(self, finished: Finished, *, spread: bool = False) -> Float[Tensor, " batch"]:
        """Return the reward of each sample: higher is better, finite, and no worse than the floor.

        Args:
            finished: The samples.
            spread: Whether a set's number is distributed by the samples' influence on it; see ``influence``.
        """
        function = (self.influence if spread else None) or self.credit or self.function
        values = self._checked(function(finished), finished).float().expand(len(finished.x))
        least = self.least_reward
        most = -least if least < 0 else math.inf
        return (self.sign * values).nan_to_num(least, most, least).clamp(least, most)


def find_objective(given: str | Objective | Function) -> Objective:
    """Return an objective by name or reference; a plain function becomes an objective to maximise.

    Raises:
        GuideGymError: If there is no such objective.
    """
    part = find("objective", given) if isinstance(given, str) else given
    if isinstance(part, Objective):
        return part
    if not callable(part):
        raise GuideGymError(f"objective {given!r} must be an Objective or a function, got {type(part).__name__}")
    name = given.rpartition(":")[2] if isinstance(given, str) else getattr(part, "__name__", "objective")
    return Objective(name, part)


def registered_objective(**settings: Any) -> Callable[[Function], Objective]:
    """Return a decorator that makes an objective of a function, named like the function, and registers it."""

    def make(function: Function) -> Objective:
        objective = Objective(function.__name__, function, **settings)
        return register("objective", objective.name)(objective)

    return make
