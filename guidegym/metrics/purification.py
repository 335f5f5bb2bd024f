"""Adversarial purification: noise an attacked input, and denoise it by the classifier's own score."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.attacks.pgd import Attacked
from guidegym.diffusion import DDIM, Process, Step
from guidegym.errors import GuideGymError
from guidegym.metrics.accuracy import CHUNK, noise_to
from guidegym.metrics.score_errors import own_noise
from guidegym.support.settings import check_count


def purify(
    classifier: Attacked,
    x: Float[Tensor, " n *event"],
    *,
    process: Process,
    fraction: float = 0.25,
    num_steps: int = 20,
    rounds: int = 1,
    clip: float | None = 1.0,
) -> Float[Tensor, " n *event"]:
    r"""Noise inputs to a fraction of the chain and integrate the probability-flow ODE back with the classifier's own score.

    Args:
        classifier: A classifier of noisy inputs whose energy is meaningful at every level (self-calibrated).
        x: Inputs, attacked or not.
        process: The noise process.
        fraction: Noise level as a fraction of the chain, in (0, 1); the paper uses T/4.
        num_steps: Steps of the reverse integration.
        rounds: Number of repetitions, >= 0.
        clip: Bound on the absolute value of clean estimates.

    Raises:
        GuideGymError: If a setting is out of range.

    Source:
        CG-SC, section 5.2; Nie et al. 2022.
    """
    if not 0 < fraction < 1:
        raise GuideGymError(f"`fraction` must be in (0, 1), got {fraction}")
    check_count("num_steps", num_steps, least=1)
    check_count("rounds", rounds, least=0)
    rule, generator = DDIM(num_steps), torch.Generator(x.device).manual_seed(0)
    grid = process.grid()
    start = max(round(fraction * len(grid)), num_steps) - 1
    places = torch.linspace(start, -1, num_steps + 1).round().long() + 1
    path = torch.cat([torch.full_like(grid[:1], process.clean), grid])[places].to(x.device)
    for _ in range(rounds):
        cleaned = []
        for rows in x.split(CHUNK):
            x_t = noise_to(process, rows, path[0], generator)
            for here, there in itertools.pairwise(path):
                t, t_next = here.expand(len(rows)), there.expand(len(rows))
                eps = own_noise(classifier, x_t, t.float(), process)
                x_t = rule.step(Step(x_t, t, t_next, eps, process, clip=clip)).x_next
            cleaned.append(x_t)
        x = torch.cat(cleaned)
    return x
