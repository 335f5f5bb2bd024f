"""Heun's method for the probability-flow ODE."""

from dataclasses import dataclass

import torch

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.euler import euler_step
from guidegym.diffusion.process import noise_ratio, rows_like
from guidegym.diffusion.sampler import OdeSampler, Reverse, Step, WithoutMemory
from guidegym.errors import GuideGymError
from guidegym.registry import register


@register("sampler", "heun")
@dataclass(frozen=True)
class Heun(OdeSampler, WithoutMemory):
    r"""Heun's method for the probability-flow ODE: deterministic, of second order, two evaluations per step.

    In units in which the signal is unscaled (see ``Euler``), a step of Euler's method goes to the next level, the networks are
    evaluated there, and the mean of both slopes replaces the first:

    .. math:: \bar x_{t'} = \bar x_t + (\bar\sigma_{t'} - \bar\sigma_t) \tfrac12
        \big(\hat\epsilon(\bar x_t) + \hat\epsilon(\bar x'_{t'})\big)

    The last step, to the clean estimate, and steps from noise levels above ``highest`` are plain Euler steps of one evaluation:
    under a cosine process the first level is in the thousands, and a correction would multiply any difference of the slopes by
    as much. The guide's weight of a step applies to both evaluations. ``ProbabilityFlow`` is the same method with each
    evaluation as a separate step, at which a schedule or a policy may change the weight.

    Args:
        num_steps: Number of reverse steps.
        highest: Noise level :math:`\bar\sigma` up to which steps are corrected, > 0.

    Raises:
        GuideGymError: If a number is out of range.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, Algorithm 1, whose levels end at 80.
    """

    num_steps: int = 25
    highest: float = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.highest > 0:
            raise GuideGymError(f"must be > 0, got {self.highest}", argument="highest")

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        if step.evaluate is None:
            raise GuideGymError("must be given: Heun's method evaluates the networks twice", argument="evaluate")
        estimate, slope = guided_estimate(step)
        first = euler_step(step, estimate, slope)
        twice = ~step.ends & (noise_ratio(step.process, step.t) <= self.highest)
        if not bool(twice.any()):
            return Reverse(first, estimate)
        # Rows without a second evaluation stay at inputs that are valid for the networks.
        there = torch.where(step.ends, step.t, step.t_next)
        _, slope_there = guided_estimate(step.evaluate(first, there, twice))
        drop = noise_ratio(step.process, step.t_next) - noise_ratio(step.process, step.t)
        half = (step.process.alpha_bar(step.t_next, torch.float64).sqrt() * drop / 2).to(first)
        second = first + rows_like(half, first) * (slope_there - slope)
        return Reverse(torch.where(rows_like(twice, first), second, first), estimate)
