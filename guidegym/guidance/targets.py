"""Target distributions over classes (the papers' information degree), moved to the wanted class by progressive guidance."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from guidegym.errors import GuideGymError
from guidegym.guidance.guide import Networks
from guidegym.registry import contract, register
from guidegym.support.settings import check_count, plain_fields

SOURCE_STEPS = 250
"""Length of the chain for which the source gives its per-step update."""


@contract("target")
@runtime_checkable
class TargetDistribution(Protocol):
    """The initial target distribution over classes of a trajectory."""

    def check(self, networks: Networks) -> None:
        """Check that the model has what the target needs, or raise a GuideGymError."""
        ...

    def rows(self, networks: Networks, label: Int[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        """Return the target of each row, >= 0 with sum 1, float64, on the device of ``label``."""
        ...


@register("target", "one_hot")
@dataclass(frozen=True)
class OneHot:
    """The wanted class alone: plain guidance."""

    def check(self, networks: Networks) -> None:
        """Check nothing: no requirements."""

    def rows(self, networks: Networks, label: Int[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        """Return the target of each row."""
        return functional.one_hot(label, networks.num_classes).double()


@register("target", "uniform")
@dataclass(frozen=True)
class Uniform:
    """All classes equally."""

    def check(self, networks: Networks) -> None:
        """Check nothing: no requirements."""

    def rows(self, networks: Networks, label: Int[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        """Return the target of each row."""
        return torch.full((len(label), networks.num_classes), 1 / networks.num_classes, device=label.device).double()


@register("target", "label_smoothing")
@dataclass(frozen=True)
class LabelSmoothing:
    """A share for the wanted class, and the rest spread evenly over the others.

    Args:
        share: Target share of the wanted class, in [0, 1]; 1 is plain guidance, and 1 / K for K classes is uniform.

    Source:
        Dinh et al. 2023, Table 6.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 <= self.share <= 1:
            raise GuideGymError(f"`share` must be in [0, 1], got {self.share}")

    def check(self, networks: Networks) -> None:
        """Check that the wanted class has at least the share of the others."""
        if self.share < 1 / networks.num_classes - 1e-6:
            raise GuideGymError(
                f"`share` must be in [1 / {networks.num_classes}, 1] on model '{networks.name}', got {self.share}"
            )

    def rows(self, networks: Networks, label: Int[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        """Return the target of each row."""
        hot = functional.one_hot(label, networks.num_classes).double()
        rest = (1 - self.share) / max(networks.num_classes - 1, 1)
        return rest + (self.share - rest) * hot


@register("target", "similarity")
@dataclass(frozen=True)
class Similarity:
    r"""Classes in proportion to the similarity of their descriptions under a text encoder.

    .. math:: s_i = \frac{\max(\mathrm{sim}_{c, i}, 0)}{\sum_j \max(\mathrm{sim}_{c, j}, 0)}

    A negative cosine counts as no similarity.

    Args:
        encoder: Name of the model's similarity matrix, such as ``minilm`` (see ``guidegym.similarity``).

    Source:
        Dinh et al. 2023, section 3.1.
    """

    encoder: str = "minilm"

    def check(self, networks: Networks) -> None:
        """Check that the model has the matrix."""
        if self.encoder not in networks.similarities:
            known = ", ".join(networks.similarities) or "none"
            raise GuideGymError(
                f"model '{networks.name}' has no similarities from '{self.encoder}'; available: {known}"
            )

    def rows(self, networks: Networks, label: Int[Tensor, " batch"]) -> Float[Tensor, " batch classes"]:
        """Return the target of each row."""
        alike = networks.similarities[self.encoder].to(label.device).double().clamp_min(0)[label]
        return alike / alike.sum(dim=1, keepdim=True)


def rate_of_gamma(gamma: float, num_steps: int = SOURCE_STEPS) -> float:
    r"""Return the rate per unit of the chain for a per-step update: :math:`r = -n \log(1 - \gamma)`.

    Args:
        gamma: Update per step, in [0, 1); the source uses 0.04 and 0.06.
        num_steps: Steps ``n`` of the chain that the update refers to.
    """
    if not 0 <= gamma < 1:
        raise GuideGymError(f"`gamma` must be in [0, 1), got {gamma}")
    check_count("num_steps", num_steps, least=1)
    return -num_steps * math.log1p(-gamma)


def step_gamma(rate: Float[Tensor, " batch"], num_steps: int) -> Float[Tensor, " batch"]:
    r"""Return the update of one step, :math:`\gamma = 1 - e^{-r / n}`, for a rate per unit of the chain.

    Over a whole chain the distance to the wanted class shrinks by :math:`e^{-r}`, whatever the number of steps ``n``. The
    source's 0.04 per step at 250 steps is a rate of 10.2.

    Args:
        rate: The rate ``r`` of each row, >= 0; 0 does not move it.
        num_steps: Steps of the chain.
    """
    return -torch.expm1(-rate / num_steps)


def advance_target(
    target: Float[Tensor, " batch classes"], label: Int[Tensor, " batch"], gamma: Float[Tensor, " batch"]
) -> Float[Tensor, " batch classes"]:
    r"""Move each row's target towards its wanted class.

    .. math:: s_c \leftarrow s_c + \gamma (1 - s_c), \qquad s_i \leftarrow s_i - \gamma s_i \quad (i \ne c)

    This is eq. 5 with the sum over the other classes written out: they shrink proportionally, and the total stays 1.

    Args:
        target: Target distribution of each row, >= 0 with sum 1.
        label: Wanted class ``c`` of each row.
        gamma: Update of the step, in [0, 1]; 1 is plain guidance after one step.

    Source:
        Dinh et al. 2023, eq. 5.
    """
    return torch.lerp(target, functional.one_hot(label, target.shape[1]).to(target), gamma.to(target)[:, None])
