"""Errors of a classifier's gradients in predicting noise: of its own score, and of its class gradients with the denoiser."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.attacks.pgd import Attacked
from guidegym.diffusion import Process, noisy_rows, rows_like
from guidegym.metrics.accuracy import CHUNK
from guidegym.metrics.gradients import density_score, log_likelihood_gradient

SCORE_LEVELS = (100, 200, 300, 400, 500, 600, 700, 800, 900, 999)
"""Timesteps over which score errors are averaged; at t = 0 there is almost no noise."""


def own_noise(
    classifier: Attacked, x_t: Float[Tensor, " batch *event"], t: Float[Tensor, " batch"], process: Process
) -> Float[Tensor, " batch *event"]:
    r"""Return the noise that a classifier's energy implies, :math:`-\sigma_t \nabla \log \sum_y e^{f(x_t, t)_y}`."""
    return -rows_like(process.sigma(t, x_t.dtype), x_t) * density_score(classifier, x_t, t)


def score_error(classifier: Attacked, x: Float[Tensor, " n *event"], *, process: Process, timestep: int) -> float:
    r"""Return the mean squared error per coordinate of a classifier's own score, as predicted noise.

    .. math:: \frac1d E \|-\sigma_t \nabla \log \sum_y e^{f(x_t, t)_y} - \epsilon\|^2

    It is 1 for a score of 0, and that of the best denoiser for the score of the data; self-calibration lowers it.

    Args:
        classifier: Returns logits at ``(x_t, t)``.
        x: Clean held-out rows, which are noised to the timestep.
        process: The noise process.
        timestep: The timestep.

    Source:
        CG-SC, eq. 9.
    """
    total = 0.0
    for x_t, t, noise in _noised(x, process, timestep):
        total += float((own_noise(classifier, x_t, t, process) - noise).double().square().sum())
    return total / x.numel()


def mean_score_error(classifier: Attacked, x: Float[Tensor, " n *event"], *, process: Process) -> float:
    """Return the mean of ``score_error`` over ``SCORE_LEVELS``: a summary of how well a network learned the score."""
    errors = [score_error(classifier, x, process=process, timestep=level) for level in SCORE_LEVELS]
    return sum(errors) / len(errors)


@dataclass(frozen=True)
class GuidedError:
    r"""The effect of the true class' gradient on a denoiser, as mean squared errors of the noise per coordinate.

    Args:
        denoiser: Error of the unconditional denoiser alone.
        guided: Error of :math:`\epsilon_\theta - \sigma_t \nabla \log p(y|x_t, t)`, the true class at weight 1: below
            the denoiser's if the class gradient is accurate.
    """

    denoiser: float
    guided: float


def guided_error(
    classifier: Attacked,
    denoiser: Attacked,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    *,
    process: Process,
    timestep: int,
) -> GuidedError:
    """Measure the effect of the class gradient on a denoiser at one noise level, on clean held-out rows with labels.

    Source:
        Chao et al. 2022, eq. 12: the denoising likelihood score matching loss.
    """
    alone, together = 0.0, 0.0
    for (x_t, t, noise), y in zip(_noised(x, process, timestep), labels.split(CHUNK), strict=True):
        with torch.no_grad():
            predicted = denoiser(x_t, t)
        sigma = rows_like(process.sigma(t, x.dtype), x_t)
        guided = predicted - sigma * log_likelihood_gradient(classifier, x_t, t, y)
        alone += float((predicted - noise).double().square().sum())
        together += float((guided - noise).double().square().sum())
    return GuidedError(alone / x.numel(), together / x.numel())


def _noised(x: Tensor, process: Process, timestep: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield chunks of noisy rows, their timesteps, and their noise, which is the same at every timestep."""
    generator = torch.Generator(x.device).manual_seed(0)
    for rows in x.split(CHUNK):
        noise = torch.randn(rows.shape, generator=generator, device=x.device, dtype=x.dtype)
        t = torch.full((len(rows),), timestep, device=x.device)
        yield noisy_rows(process, rows, t, noise), t.float(), noise
