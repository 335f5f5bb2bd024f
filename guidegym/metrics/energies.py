"""Energies of a classifier by noise level and by class: how it tells data from noise, and one class from another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.metrics.accuracy import logits_at, noise_to
from guidegym.metrics.pgd import Attacked


@dataclass(frozen=True)
class Energies:
    r"""Mean energies, one row a noise level and one column a class.

    Args:
        marginal: Mean of :math:`E(x) = -\log \sum_y e^{f(x)_y}` over the rows of each class.
        joint: Mean of :math:`E(x, y) = -f(x)_y` with the rows' own class.
    """

    marginal: Float[Tensor, " levels classes"]
    joint: Float[Tensor, " levels classes"]


def energies_of(
    logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return E(x) and E(x, y) of each row."""
    return -logits.logsumexp(dim=1), -logits.gather(1, labels[:, None])[:, 0]


def energies_by_level(
    classifier: Attacked,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    process: Process,
    timesteps: Sequence[int],
    num_classes: int,
    seed: int = 0,
) -> Energies:
    """Measure both energies of clean rows noised to each of the timesteps; classes without rows are NaN.

    Source:
        Wang 2024, sections 4.6 and 4.8.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    marginal: list[Tensor] = []
    joint: list[Tensor] = []
    for timestep in timesteps:
        noisy = noise_to(process, x, timestep, generator)
        for found, own in zip(
            energies_of(logits_at(classifier, noisy, timestep).double(), labels), (marginal, joint), strict=True
        ):
            own.append(torch.stack([found[labels == label].mean() for label in range(num_classes)]))
    return Energies(torch.stack(marginal), torch.stack(joint))
