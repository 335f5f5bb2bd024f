"""Ancestral sampling."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate, unguided_estimate
from guidegym.diffusion.process import Process, rows_like
from guidegym.diffusion.sampler import (
    Memory,
    Reverse,
    Step,
    check_num_steps,
    check_spacing,
    noise_between,
    shown_sampler,
)
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import plain_fields

TINY = 1e-20
"""Lower bound on a variance whose logarithm is taken."""
VARIANCES, LASTS = ("small", "large", "learned"), ("quiet", "noisy", "previous")


@register("sampler", "ddpm")
@dataclass(frozen=True)
class DDPM:
    r"""Ancestral sampling over any sub-sequence of steps, guided in the mean.

    .. math::
        x_{t'} = \frac{\sqrt{\bar\alpha_{t'}} \beta}{1 - \bar\alpha_t} \hat x_0
        + \frac{\sqrt{\alpha} (1 - \bar\alpha_{t'})}{1 - \bar\alpha_t} x_t + \sigma^2 w g + \sigma z, \quad
        \alpha = \bar\alpha_t / \bar\alpha_{t'}, \quad \beta = 1 - \alpha

    The mean uses the unguided clean estimate; the guide shifts it by :math:`\sigma^2 w g`.

    Args:
        num_steps: Number of reverse steps, in 1 .. T.
        variance: ``small`` takes :math:`\sigma^2 = \beta (1 - \bar\alpha_{t'}) / (1 - \bar\alpha_t)`, ``large`` takes
            :math:`\sigma^2 = \beta`, ``learned`` one between the two that the network predicts.
        spacing: ``trailing`` starts at the last training timestep, ``leading`` ends at the first, ``linspace`` does both.
        last: The variance of the last step. ``quiet`` adds no noise in it; ``noisy`` does, as diffusers does where the chain
            does not end at timestep 0; ``previous`` adds none, and where ``variance`` is not ``small`` guides by the small
            variance of the step before, as guided-diffusion does.

    Source:
        Dinh et al. 2023, eq. 1-3 (Wang 2024, eq. 2.17, has the shift without the square); Ho et al. 2020; Nichol and Dhariwal
        2021, eq. 15, for the learned variance.
    """

    num_steps: int = 1000
    variance: str = "small"
    spacing: str = "trailing"
    last: str = "quiet"

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)
        check_spacing(self.spacing)
        if self.variance not in VARIANCES:
            raise GuideGymError(f"must be one of {', '.join(VARIANCES)}, got {self.variance!r}", argument="variance")
        if self.last not in LASTS:
            raise GuideGymError(f"must be one of {', '.join(LASTS)}, got {self.last!r}", argument="last")

    def __repr__(self) -> str:
        return shown_sampler(self, "num_steps", "variance", "spacing")

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: always."""
        return True

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, followed by -1."""
        return process.times(self.num_steps, self.spacing)

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return the small variance of a step before the first, 0, if the last step asks for the one before."""
        return {"variance": torch.zeros(len(x), dtype=x.dtype, device=x.device)} if self.last == "previous" else {}

    def _variance(self, step: Step, small: Tensor, beta: Tensor) -> Float[Tensor, " batch *event"]:
        """Return the variance of the step, ready to multiply rows."""
        x = step.x
        if self.last == "previous":
            before = step.memory["variance"]
            small = small if self.variance == "small" else torch.where(step.ends, before, small)
            beta = torch.where(step.ends, before, beta) if self.variance == "large" else beta
        if self.variance != "learned":
            return rows_like(small if self.variance == "small" else beta, x)
        if step.spread is None:
            raise GuideGymError("'learned' needs a model whose networks predict the variance", argument="variance")
        least, most = (rows_like(one.clamp_min(TINY).log(), x) for one in (small, beta))
        return torch.lerp(least.expand_as(x), most.expand_as(x), step.spread).exp()

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        if step.noise is None:
            raise GuideGymError("`noise` must be given: ancestral sampling is stochastic")
        alpha, beta = noise_between(process, t, t_next, x_t.dtype)
        kept = (step.sigma_next / step.sigma).square()
        unguided = unguided_estimate(step)
        mean = (
            rows_like(step.alpha_bar_next.sqrt() * beta / step.sigma.square(), x_t) * unguided
            + rows_like(alpha.sqrt() * kept, x_t) * x_t
        )
        small = beta * kept
        variance = self._variance(step, small, beta)
        estimate = unguided
        if step.shift is not None:
            mean = mean + variance * step.shift
            estimate, _ = guided_estimate(step, clipping="estimate")  # its noise is not needed
        quiet = step.ends & (t == 0) if self.last == "noisy" else step.ends
        spread = torch.where(rows_like(quiet, x_t), 0.0, variance.sqrt())
        memory = {name: torch.where(step.ends, own, small) for name, own in step.memory.items()}
        return Reverse(mean + spread * step.noise, estimate, memory)
