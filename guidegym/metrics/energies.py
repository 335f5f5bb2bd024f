"""Energies of a classifier by class: how they separate data from noise, and classes from each other."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.metrics.checking import check_labelled


class Energies(NamedTuple):
    r"""Two energies of rows or, as means, of classes.

    Args:
        marginal: :math:`E(x) = -\log \sum_y e^{f(x)_y}`.
        joint: :math:`E(x, y) = -f(x)_y` with the rows' own class.
    """

    marginal: Float[Tensor, " n"]
    joint: Float[Tensor, " n"]


def energies_of(logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"]) -> Energies:
    """Return E(x) and E(x, y) of each row.

    Raises:
        GuideGymError: If logits are not finite, or a label is out of range.
    """
    check_labelled(logits, labels)
    return Energies(-logits.logsumexp(dim=1), -logits.gather(1, labels[:, None])[:, 0])


def energies_by_class(logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"]) -> Energies:
    """Return the means of both energies over the rows of each class, in float64; classes without rows are NaN.

    Source:
        Wang 2024, sections 4.6 and 4.8.
    """
    found = energies_of(logits.double(), labels)
    return Energies(*(torch.stack([own[labels == k].mean() for k in range(logits.shape[1])]) for own in found))
