"""Ancestral sampling."""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from guidegym.diffusion.estimates import clean_estimate, guided_estimate
from guidegym.diffusion.process import Process, rows_like
from guidegym.diffusion.sampler import (
    Reverse,
    Step,
    WithoutMemory,
    check_num_steps,
    check_spacing,
    noise_between,
    shown_sampler,
)
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import plain_fields


@register("sampler", "ddpm")
@dataclass(frozen=True)
class DDPM(WithoutMemory):
    r"""Ancestral sampling over any sub-sequence of steps, guided in the mean.

    .. math::
        x_{t'} = \frac{\sqrt{\bar\alpha_{t'}} \beta}{1 - \bar\alpha_t} \hat x_0
        + \frac{\sqrt{\alpha} (1 - \bar\alpha_{t'})}{1 - \bar\alpha_t} x_t + \sigma^2 w g + \sigma z, \quad
        \alpha = \bar\alpha_t / \bar\alpha_{t'}, \quad \beta = 1 - \alpha

    The mean uses the unguided clean estimate; the guide shifts it by :math:`\sigma^2 w g`.

    Args:
        num_steps: Number of reverse steps, in 1 .. T.
        variance: ``small`` takes :math:`\sigma^2 = \beta (1 - \bar\alpha_{t'}) / (1 - \bar\alpha_t)`, ``large`` takes
            :math:`\sigma^2 = \beta`.
        spacing: ``trailing`` starts at the last training timestep, ``leading`` ends at the first, ``linspace`` does both.
        noisy_end: Whether the last step adds noise, too, as in diffusers where the chain does not end at timestep 0.

    Source:
        Dinh et al. 2023, eq. 1-3 (Wang 2024, eq. 2.17, has the shift without the square); Ho et al. 2020.
    """

    num_steps: int = 1000
    variance: str = "small"
    spacing: str = "trailing"
    noisy_end: bool = False

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)
        check_spacing(self.spacing)
        if self.variance not in ("small", "large"):
            raise GuideGymError(f"`variance` must be 'small' or 'large', got {self.variance!r}")

    def __repr__(self) -> str:
        return shown_sampler(self, "num_steps", "variance", "spacing")

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: always."""
        return True

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, followed by -1."""
        return process.times(self.num_steps, self.spacing)

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        if step.noise is None:
            raise GuideGymError("`noise` must be given: ancestral sampling is stochastic")
        alpha, beta = noise_between(process, t, t_next, x_t.dtype)
        alpha_bar_next, sigma_t = process.alpha_bar(t_next, x_t.dtype), process.sigma(t, x_t.dtype)
        kept = (process.sigma(t_next, x_t.dtype) / sigma_t).square()
        unguided = clean_estimate(x_t, step.predicted, t=t, process=process, clip=step.clip)
        mean = (
            rows_like(alpha_bar_next.sqrt() * beta / sigma_t.square(), x_t) * unguided
            + rows_like(alpha.sqrt() * kept, x_t) * x_t
        )
        variance = beta * kept if self.variance == "small" else beta
        estimate = unguided
        if step.shift is not None:
            mean = mean + rows_like(variance, x_t) * step.shift
            estimate, _ = guided_estimate(step)
        quiet = step.ends & (t == 0) if self.noisy_end else step.ends
        spread = torch.where(quiet, torch.zeros_like(variance), variance.sqrt())
        return Reverse(mean + rows_like(spread, x_t) * step.noise, estimate)
