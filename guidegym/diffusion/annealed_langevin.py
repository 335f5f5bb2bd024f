"""Annealed Langevin dynamics."""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.process import Process, rows_like
from guidegym.diffusion.sampler import Reverse, Step, WithoutMemory, check_num_steps, repeated_levels
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_count, plain_fields


@register("sampler", "annealed_langevin")
@dataclass(frozen=True)
class AnnealedLangevin(WithoutMemory):
    r"""Langevin steps at each noise level, with no step between levels.

    In units in which the signal is unscaled, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}`,

    .. math:: \bar x \leftarrow \bar x + \frac{\alpha_t}{2} s(\bar x) + \sqrt{\alpha_t}\, z
        = \bar x - \frac{a}{2} \bar\sigma_t\, \hat\epsilon + \sqrt{a}\, \bar\sigma_t\, z,
        \quad \alpha_t = a\, \bar\sigma_t^2

    The final step returns the clean estimate.

    Args:
        num_steps: Network evaluations per row.
        size: Step size ``a`` in units of the squared noise level, in (0, 2); the source's 2e-5 at a last level of 0.01 is 0.2.
        repeats: Steps at each level, >= 1. If they do not divide ``num_steps``, the first level has fewer.

    Source:
        Wang 2024, Algorithm 2; Song and Ermon 2019, Algorithm 1.
    """

    num_steps: int = 1000
    size: float = 0.2
    repeats: int = 5

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)
        if not 0 < self.size < 2:
            raise GuideGymError(f"`size` must be in (0, 2), got {self.size}")
        check_count("repeats", self.repeats, least=1)

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: always."""
        return True

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, each level repeated once per step, followed by -1."""
        return repeated_levels(self.num_steps, self.repeats, process)

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        if step.noise is None:
            raise GuideGymError("`noise` must be given: Langevin dynamics is stochastic")
        estimate, eps_hat = guided_estimate(step)
        sigma = process.sigma(t, x_t.dtype)
        moved = x_t + rows_like(sigma, x_t) * (self.size**0.5 * step.noise - self.size / 2 * eps_hat)
        # Changing levels moves nothing: the unscaled sample is kept and rescaled for the next level.
        scale = (process.alpha_bar(t_next, x_t.dtype) / process.alpha_bar(t, x_t.dtype)).sqrt()
        return Reverse(torch.where(rows_like(step.ends, x_t), estimate, rows_like(scale, x_t) * moved), estimate)
