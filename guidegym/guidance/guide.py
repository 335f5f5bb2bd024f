"""A guide's input, the networks it may evaluate, and its output."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from guidegym.diffusion import Predicted, Process
from guidegym.errors import GuideGymError
from guidegym.registry import contract
from guidegym.support.autograd import input_gradient

Classifier = Callable[[Tensor, Tensor], Tensor]
"""``(x_t, t) -> logits``; an off-the-shelf classifier ignores ``t``."""
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``(x_t, t) -> prediction`` at times ``t`` (one floating number per row)."""
ConditionalNetwork = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(x_t, t, label) -> prediction`` for the class of each row; label -1 means no class."""


@runtime_checkable
class Denoising(Protocol):
    """A denoiser of a model, whatever it predicts."""

    def __call__(self, x: Tensor, t: Tensor, *further: Tensor) -> Tensor:
        """Return the predicted noise."""
        ...

    def predicted(self, x: Tensor, t: Tensor, *further: Tensor) -> Predicted:
        """Return the prediction as noise and as clean data."""
        ...


@runtime_checkable
class Networks(Protocol):
    """The networks of a model that a guide may evaluate, and what is known about them."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def process(self) -> Process:
        """The noise process that the networks were trained on."""
        ...

    @property
    def class_energies(self) -> Mapping[str, Tensor]:
        """Mean energy of real data per class, by classifier name."""
        ...

    @property
    def similarities(self) -> Mapping[str, Tensor]:
        """Similarity of the classes' descriptions: matrices of cosines, by encoder."""
        ...

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        ...

    @property
    def is_conditional(self) -> bool:
        """Whether there are only conditional denoisers."""
        ...

    @property
    def null_class(self) -> bool:
        """Whether conditional denoisers can predict without a class."""
        ...

    @property
    def clip(self) -> float | None:
        """Bound on the absolute value of clean data."""
        ...

    def unconditional(self) -> Denoising:
        """Return the unconditional denoiser."""
        ...

    def classifier(self, name: str) -> Classifier:
        """Return the classifier called ``name``, or raise a GuideGymError."""
        ...

    def conditional(self, name: str) -> Denoising:
        """Return the label-conditional denoiser called ``name``, or raise a GuideGymError."""
        ...


@dataclass(frozen=True)
class Cost:
    """Network evaluations, counted in rows: an evaluation of a batch of 8 counts 8.

    Args:
        denoiser: Forward evaluations of denoisers.
        guide_forward: Forward evaluations of classifiers.
        guide_backward: Backward evaluations of classifiers.
        denoiser_backward: Backward evaluations of denoisers.
    """

    denoiser: int = 0
    guide_forward: int = 0
    guide_backward: int = 0
    denoiser_backward: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """The four counts, in order."""
        return (self.denoiser, self.guide_forward, self.guide_backward, self.denoiser_backward)

    @property
    def total(self) -> int:
        """All evaluations, forward and backward."""
        return sum(self.counts)


@contract("base_model")
@runtime_checkable
class BaseModel(Protocol):
    """The base model: the unguided noise prediction that guidance is added to."""

    def check(self, networks: Networks) -> None:
        """Check that the model has what the base model needs, or raise a GuideGymError."""
        ...

    def predict(
        self,
        networks: Networks,
        x_t: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        label: Int[Tensor, " batch"],
    ) -> tuple[Predicted | Tensor, Cost]:
        """Return the prediction, or its noise alone, and its cost per row; in a graph if gradients are enabled and needed."""
        ...


def unguided(
    base_model: BaseModel,
    networks: Networks,
    x_t: Float[Tensor, " batch *event"],
    t: Shaped[Tensor, " batch"],
    label: Int[Tensor, " batch"],
) -> tuple[Predicted, Cost]:
    """Return a base model's prediction and its cost per row."""
    told, cost = base_model.predict(networks, x_t, t, label)
    return (Predicted(told) if isinstance(told, Tensor) else told), cost


def check_classifier_name(name: object) -> None:
    """Reject anything that cannot be the name of a model's classifier."""
    if not isinstance(name, str) or not name:
        raise GuideGymError(f"`classifier` must be the name of a model's classifier, got {name!r}")


def check_network_name(name: object) -> None:
    """Reject anything that cannot be the name of a model's conditional denoiser."""
    if not isinstance(name, str) or not name:
        raise GuideGymError(f"`network` must be the name of a model's conditional denoiser, got {name!r}")


GRADIENT = Cost(guide_forward=1, guide_backward=1)
"""The cost per row of one gradient of a classifier."""


@dataclass(frozen=True, eq=False)
class GuideInput:
    """Rows to evaluate a guide on; they may be at different timesteps.

    Args:
        networks: The networks.
        x_t: Noisy rows.
        t: Training timestep of each row.
        target: Target distribution over classes of each row; one-hot is plain guidance.
        label: Wanted class of each row.
        base_model: The base model that guidance is added to.
        predicted: Its prediction at ``x_t``, if known; in a graph that leads to ``x_t`` if the guide needs one.
        memory: The guide's memory of each row's last step; initially zero.
    """

    networks: Networks
    x_t: Float[Tensor, " batch *event"]
    t: Shaped[Tensor, " batch"]
    target: Float[Tensor, " batch classes"]
    label: Int[Tensor, " batch"]
    base_model: "BaseModel"
    predicted: Predicted | None = None
    memory: Float[Tensor, " batch *event"] | None = None

    @property
    def eps(self) -> Float[Tensor, " batch *event"] | None:
        """The base model's noise at ``x_t``, if known."""
        return None if self.predicted is None else self.predicted.eps


class GuideOutput(NamedTuple):
    """A guide's output: the gradient to add to the score, the logits of the given rows, and the cost per row.

    A guide without a classifier has no logits; one without a memory leaves ``memory`` None. ``clean`` is what the gradient
    changes in the clean estimate, where it is known without division by the signal, as under classifier-free guidance.
    """

    gradient: Float[Tensor, " batch *event"]
    logits: Float[Tensor, " batch classes"] | None
    cost: Cost
    memory: Float[Tensor, " batch *event"] | None = None
    clean: Float[Tensor, " batch *event"] | None = None


def gradient_of(objective: Callable[[Tensor], Tensor], classify: Classifier, x_t: Tensor, t: Tensor) -> GuideOutput:
    """Differentiate a per-row ``objective(logits)`` with respect to ``x_t``; rows are independent, so their sum suffices.

    Raises:
        GuideGymError: If the classifier has no gradient; see ``guidegym.support.autograd.input_gradient``.
    """
    with torch.enable_grad():
        leaf = x_t.detach().requires_grad_(True)
        logits = classify(leaf, t)
        gradient = input_gradient(objective(logits).sum(), leaf, network=classify)
    return GuideOutput(gradient, logits.detach(), GRADIENT)
