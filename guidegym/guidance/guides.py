"""Guides: the gradient field that a classifier adds to the score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.errors import GuideGymError

Classifier = Callable[[Tensor, Tensor], Tensor]
"""``(x_t, t) -> logits``; an off-the-shelf classifier ignores ``t``."""


class Guided(NamedTuple):
    """What a guide returns: the gradient to add to the score, and the logits it came from."""

    gradient: Float[Tensor, " batch *event"]
    logits: Float[Tensor, " batch classes"]


@runtime_checkable
class Guide(Protocol):
    """A gradient field ``(x_t, t, degree) -> gradient, logits`` over a named classifier of the testbed.

    The degree is the target distribution over classes: one-hot is plain guidance.
    """

    @property
    def classifier(self) -> str:
        """Name of the testbed's classifier that is asked."""
        ...

    def gradient(
        self,
        classify: Classifier,
        x_t: Float[Tensor, " batch *event"],
        t: Int[Tensor, " batch"],
        degree: Float[Tensor, " batch classes"],
    ) -> Guided:
        """Return the gradient at ``x_t`` for each row's ``degree``, and the logits."""
        ...


def _gradient_of(objective: Callable[[Tensor], Tensor], classify: Classifier, x_t: Tensor, t: Tensor) -> Guided:
    """Differentiate a per-row ``objective(logits)`` by ``x_t``; rows are independent, so their sum is enough."""
    with torch.enable_grad():
        leaf = x_t.detach().requires_grad_(True)
        logits = classify(leaf, t.to(x_t.dtype))
        (gradient,) = torch.autograd.grad(objective(logits).sum(), leaf)
    return Guided(gradient, logits.detach())


def _check_classifier(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise GuideGymError(f"`classifier` must be the name of a testbed's classifier, got {name!r}")


@dataclass(frozen=True)
class Likelihood:
    r"""The gradient of the log-likelihood of the wanted classes.

    .. math:: g = \nabla_{x_t} \sum_i s_i \log p(y_i | x_t), \quad \log p(y | x) = f(x)_y - \log \sum_j e^{f(x)_j}

    Args:
        classifier: Name of the testbed's classifier.

    Source:
        Dhariwal and Nichol 2021, Algorithm 2; Dinh et al. 2023, eq. 4, for a degree ``s`` that is not one-hot.
    """

    classifier: str

    def __post_init__(self) -> None:
        _check_classifier(self.classifier)

    def gradient(
        self,
        classify: Classifier,
        x_t: Float[Tensor, " batch *event"],
        t: Int[Tensor, " batch"],
        degree: Float[Tensor, " batch classes"],
    ) -> Guided:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        return _gradient_of(lambda logits: degree * logits.log_softmax(dim=1), classify, x_t, t)


@dataclass(frozen=True)
class ClassEnergy:
    r"""The gradient of the wanted classes' logits: a classifier read as an energy-based model.

    .. math:: g = -\nabla_{x_t} \sum_i s_i E(x_t, y_i), \quad E(x, y) = -f(x)_y

    Unlike the likelihood it does not vanish where the classifier is sure.

    Args:
        classifier: Name of the testbed's classifier.

    Source:
        Wang 2024, section 4.6 and eq. 2.36-2.38.
    """

    classifier: str

    def __post_init__(self) -> None:
        _check_classifier(self.classifier)

    def gradient(
        self,
        classify: Classifier,
        x_t: Float[Tensor, " batch *event"],
        t: Int[Tensor, " batch"],
        degree: Float[Tensor, " batch classes"],
    ) -> Guided:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        return _gradient_of(lambda logits: degree * logits, classify, x_t, t)


GUIDES: dict[str, type[Likelihood | ClassEnergy]] = {"likelihood": Likelihood, "class_energy": ClassEnergy}
"""Every guide by the name it has in a guidance file."""
