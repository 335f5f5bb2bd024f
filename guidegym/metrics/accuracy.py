"""Accuracy of a classifier: on clean images, on noisy ones, and under attack."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process, rows_like
from guidegym.metrics.pgd import Attacked, pgd

CHUNK = 500


def noise_to(
    process: Process, x: Float[Tensor, " batch *event"], timestep: int, generator: torch.Generator
) -> Float[Tensor, " batch *event"]:
    """Noise clean rows to one training timestep."""
    t = torch.full((len(x),), timestep, dtype=torch.long, device=x.device)
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return rows_like(process.alpha_bar(t, x.dtype).sqrt(), x) * x + rows_like(process.sigma(t, x.dtype), x) * noise


@torch.no_grad()
def logits_at(classifier: Attacked, x: Float[Tensor, " n *event"], timestep: int) -> Float[Tensor, " n classes"]:
    """Return the logits of rows that all stand at one training timestep, computed in chunks."""
    return torch.cat([classifier(rows, rows.new_full((len(rows),), timestep)) for rows in x.split(CHUNK)])


def accuracy(
    classifier: Attacked, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, timestep: int = 0
) -> float:
    """Return the share of rows that are classified rightly: clean ones, or noisy ones at their ``timestep``."""
    return float((logits_at(classifier, x, timestep).argmax(dim=1) == labels).double().mean())


def noisy_logits(
    classifier: Attacked, x: Float[Tensor, " n *event"], *, process: Process, timestep: int, seed: int = 0
) -> Float[Tensor, " n classes"]:
    """Return the logits of clean rows that are noised to one training timestep; each timestep has the same noise."""
    generator = torch.Generator(x.device).manual_seed(seed)
    return logits_at(classifier, noise_to(process, x, timestep, generator), timestep)


def noisy_accuracy(
    classifier: Attacked,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    process: Process,
    timestep: int,
    seed: int = 0,
) -> float:
    """Return the accuracy on clean rows that are noised to one training timestep first."""
    logits = noisy_logits(classifier, x, process=process, timestep=timestep, seed=seed)
    return float((logits.argmax(dim=1) == labels).double().mean())


def robust_accuracy(
    classifier: Attacked,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    radius: float,
    num_steps: int = 20,
    **attack: Any,
) -> float:
    """Return the accuracy on clean rows under PGD within ``radius``, in units of the rows.

    Args:
        classifier: It is asked at timestep 0.
        x: Clean rows in [-1, 1].
        labels: Their classes.
        radius: Radius of the attack.
        num_steps: Its steps.
        attack: Further settings of ``pgd``.
    """
    attacked = [
        pgd(
            classifier, rows, y, t=torch.zeros(len(rows), device=x.device), radius=radius, num_steps=num_steps, **attack
        )
        for rows, y in zip(x.split(CHUNK), labels.split(CHUNK), strict=True)
    ]
    return accuracy(classifier, torch.cat(attacked), labels)


def dark_accuracy(
    classifier: Attacked, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, process: Process, timestep: int
) -> float:
    r"""Return the accuracy on rows that are only darkened, :math:`\sqrt{\bar\alpha_t} x_0`, as a noisy image's signal is.

    Source:
        Wang 2024, section 4.4.
    """
    share = process.alpha_bar(torch.tensor([timestep], device=x.device), x.dtype).sqrt()
    return accuracy(classifier, share * x, labels, timestep=timestep)
