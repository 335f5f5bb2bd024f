"""Heun's method for the probability-flow ODE."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.euler import euler_step
from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import OdeSampler, Raised, Reverse, Step, WithoutMemory, shown_sampler
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_range

MOST_CHURN = math.sqrt(2) - 1
"""The largest share by which one step raises the noise level."""


@register("sampler", "heun")
@dataclass(frozen=True)
class Heun(OdeSampler, WithoutMemory):
    r"""Heun's method for the probability-flow ODE, of second order, two evaluations per step; deterministic without churn.

    In units in which the signal is unscaled (see ``Euler``), a step of Euler's method goes to the next level, the networks are
    evaluated there, and the mean of both slopes replaces the first:

    .. math:: \bar x_{t'} = \bar x_t + (\bar\sigma_{t'} - \bar\sigma_t) \tfrac12
        \big(\hat\epsilon(\bar x_t) + \hat\epsilon(\bar x'_{t'})\big)

    The last step, to the clean estimate, and steps from noise levels above ``highest`` are plain Euler steps of one evaluation:
    under a cosine process the first level is in the thousands, and a correction would multiply any difference of the slopes by
    as much. The guide's weight of a step applies to both evaluations. ``ProbabilityFlow`` is the same method with each
    evaluation as a separate step, at which a schedule or a policy may change the weight.

    With ``churn`` a step first adds noise, which takes the row from its time, the noise level :math:`t`, to a higher one, where
    both the networks and the guide are evaluated:

    .. math:: \hat t = t + \gamma t, \quad \hat x = x + \sqrt{\hat t^2 - t^2}\, S_{noise}\, z, \quad
        \gamma = \min(S_{churn} / N, \sqrt 2 - 1) \text{ for } S_{tmin} \le t \le S_{tmax}, \text{ else } 0

    Weights are those at :math:`t`, and ``highest`` bounds :math:`\hat t / (1 + \gamma)`. Only processes whose times are noise
    levels have a time for every :math:`\hat t`: ``EDMProcess``, and your own of that kind.

    Args:
        num_steps: Number ``N`` of reverse steps.
        highest: Noise level :math:`\bar\sigma` up to which steps are corrected, > 0.
        churn: :math:`S_{churn}` >= 0, noise renewed over the whole chain; 0 is deterministic.
        churn_min: :math:`S_{tmin}` >= 0, the lowest level that is raised.
        churn_max: :math:`S_{tmax}` >= ``churn_min``, the highest; None for no bound.
        churn_noise: :math:`S_{noise}` > 0, standard deviation of the new noise: slightly more than 1 makes up for networks that
            remove too much.

    Raises:
        GuideGymError: If a number is out of range, or the process has no time for every noise level.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, Algorithm 1, whose levels end at 80, and with churn Algorithm 2.
    """

    num_steps: int = 25
    highest: float = 80.0
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float | None = None
    churn_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.highest > 0:
            raise GuideGymError(f"must be > 0, got {self.highest}", argument="highest")
        check_range("churn", self.churn, least=0)
        check_range("churn_min", self.churn_min, least=0)
        if self.churn_max is not None:
            check_range("churn_max", self.churn_max, least=self.churn_min)
        check_range("churn_noise", self.churn_noise, above=0)

    def __repr__(self) -> str:
        return shown_sampler(self, "num_steps", "highest")

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: with churn."""
        return self.churn > 0

    @property
    def _gamma(self) -> float:
        """The share by which a step raises the noise level."""
        return min(self.churn / self.num_steps, MOST_CHURN)

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending times, followed by the clean end; with churn they must be noise levels."""
        times = super().timesteps(process)
        if self.churn > 0 and not torch.equal(noise_ratio(process, times), times.double()):
            raise GuideGymError(
                f"must be 0 under {type(process).__name__}: only a process whose times are noise levels, such as EDMProcess, "
                "has one for every raised level",
                argument="churn",
            )
        return times

    def raised(
        self,
        x: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        noise: Float[Tensor, " batch *event"],
        process: Process,
    ) -> Raised:
        """Return rows at raised noise levels; see ``Raising``."""
        churned = t >= self.churn_min
        if self.churn_max is not None:
            churned = churned & (t <= self.churn_max)
        there = torch.where(churned, t * (1 + self._gamma), t)
        spread = self.churn_noise * (there.square() - t.square()).sqrt()
        return Raised(x + rows_like(spread.to(x), x) * noise, there)

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        if step.evaluate is None:
            raise GuideGymError("must be given: Heun's method evaluates the networks twice", argument="evaluate")
        estimate, slope = guided_estimate(step)
        first = euler_step(step, estimate, slope)
        twice = ~step.ends & (noise_ratio(step.process, step.t) <= self.highest * (1 + self._gamma))
        if not bool(twice.any()):
            return Reverse(first, estimate)
        # Rows without a second evaluation stay at inputs that are valid for the networks.
        there = torch.where(step.ends, step.t, step.t_next)
        _, slope_there = guided_estimate(step.evaluate(first, there, twice))
        drop = noise_ratio(step.process, step.t_next) - noise_ratio(step.process, step.t)
        half = (step.process.alpha_bar(step.t_next, torch.float64).sqrt() * drop / 2).to(first)
        second = first + rows_like(half, first) * (slope_there - slope)
        return Reverse(torch.where(rows_like(twice, first), second, first), estimate)
