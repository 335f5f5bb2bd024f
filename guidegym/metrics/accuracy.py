"""Accuracy of a classifier: on clean images, on noisy ones, and under attack."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.attacks.pgd import Attacked, pgd
from guidegym.diffusion import Process, noisy_rows
from guidegym.metrics.checking import check_labelled

CHUNK = 500


def noise_to(
    process: Process, x: Float[Tensor, " batch *event"], timestep: int | Tensor, generator: torch.Generator
) -> Float[Tensor, " batch *event"]:
    """Noise clean rows to one training timestep."""
    t = torch.as_tensor(timestep, device=x.device).expand(len(x))
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return noisy_rows(process, x, t, noise)


@torch.no_grad()
def logits_at(classifier: Attacked, x: Float[Tensor, " n *event"], timestep: int) -> Float[Tensor, " n classes"]:
    """Return the logits of rows at one training timestep, computed in chunks."""
    return torch.cat(
        [classifier(rows, torch.full((len(rows),), float(timestep), device=x.device)) for rows in x.split(CHUNK)]
    )


def share_right(logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"]) -> float:
    """Return the share of rows whose largest logit is that of their class.

    Raises:
        GuideGymError: If logits are not finite, or a label is out of range.
    """
    check_labelled(logits, labels)
    return float((logits.argmax(dim=1) == labels).double().mean())


def accuracy(
    classifier: Attacked, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, timestep: int = 0
) -> float:
    """Return the share of correctly classified rows: clean ones, or noisy ones at their ``timestep``."""
    return share_right(logits_at(classifier, x, timestep), labels)


def noisy_logits(
    classifier: Attacked, x: Float[Tensor, " n *event"], *, process: Process, timestep: int
) -> Float[Tensor, " n classes"]:
    """Return the logits of clean rows noised to one training timestep, with the same noise at every timestep."""
    generator = torch.Generator(x.device).manual_seed(0)
    return logits_at(classifier, noise_to(process, x, timestep, generator), timestep)


def noisy_accuracy(
    classifier: Attacked, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, process: Process, timestep: int
) -> float:
    """Return the accuracy on clean rows noised to one training timestep."""
    return share_right(noisy_logits(classifier, x, process=process, timestep=timestep), labels)


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
        classifier: Classifier, evaluated at timestep 0.
        x: Clean rows in [-1, 1].
        labels: Their classes.
        radius: Radius of the attack.
        num_steps: Its steps.
        attack: Other settings of ``pgd``.
    """
    attacked = [
        pgd(
            classifier, rows, y, t=torch.zeros(len(rows), device=x.device), radius=radius, num_steps=num_steps, **attack
        )
        for rows, y in zip(x.split(CHUNK), labels.split(CHUNK), strict=True)
    ]
    return accuracy(classifier, torch.cat(attacked), labels)


def dark_accuracy(
    classifier: Attacked,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    process: Process,
    timestep: int,
    black: float = -1.0,
) -> float:
    r"""Return the accuracy on images that are only darkened: their brightness times :math:`\sqrt{\bar\alpha_t}`.

    .. math:: x = b + \sqrt{\bar\alpha_t}\,(x_0 - b)

    which tends to black, ``b``; :math:`\sqrt{\bar\alpha_t} x_0` would tend to mid-grey and reduce the contrast instead.

    Args:
        classifier: Classifier, evaluated at ``timestep``.
        x: Clean images.
        labels: Their classes.
        process: The noise process.
        timestep: Timestep that defines the brightness.
        black: The value of a black pixel, -1 for images in [-1, 1].

    Source:
        Wang 2024, section 4.4.
    """
    share = process.alpha_bar(torch.tensor([timestep], device=x.device), x.dtype).sqrt()
    return accuracy(classifier, black + share * (x - black), labels, timestep=timestep)
