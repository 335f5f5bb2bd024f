"""Predictor-corrector sampling."""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import Reverse, Step, WithoutMemory, check_num_steps, repeated_levels
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_count, plain_fields


@register("sampler", "predictor_corrector")
@dataclass(frozen=True)
class PredictorCorrector(WithoutMemory):
    r"""Reverse-diffusion steps over the noise levels, with Langevin steps at each of them.

    In units in which the signal is unscaled, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}` (VE's own units), the corrector and then the predictor are

    .. math::
        \bar x &\leftarrow \bar x - 2 r^2 \bar\sigma_t\, \hat\epsilon + 2 r \bar\sigma_t\, z \\
        \bar x &\leftarrow \bar x - \frac{\bar\sigma_t^2 - \bar\sigma_{t'}^2}{\bar\sigma_t} \hat\epsilon
        + \sqrt{\bar\sigma_t^2 - \bar\sigma_{t'}^2}\, z

    This is the source's step size :math:`2 (r \|z\| / \|s\|)^2` with expected norms instead of batch means, so that
    rows are independent of each other. The last step returns the clean estimate.

    The predictor is of first order and leaves residual noise if the levels are far apart: it needs hundreds of them, where
    fifteen suffice for DDIM.

    Args:
        num_steps: Network evaluations per row, one for each predictor step and each corrector step.
        snr: Signal-to-noise ratio ``r`` of the corrector, in (0, 1).
        corrections: Corrector steps at each level, >= 0. If they do not divide ``num_steps``, the first level has fewer.

    Source:
        CG-SC, section 4.1; Song et al. 2021b, Algorithms 2 and 4.
    """

    num_steps: int = 1000
    snr: float = 0.16
    corrections: int = 1

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)
        if not 0 < self.snr < 1:
            raise GuideGymError(f"`snr` must be in (0, 1), got {self.snr}")
        check_count("corrections", self.corrections, least=0)

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: always."""
        return True

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, each level repeated once per step, followed by -1."""
        return repeated_levels(self.num_steps, 1 + self.corrections, process)

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        if step.noise is None:
            raise GuideGymError("`noise` must be given: predictor-corrector sampling is stochastic")
        estimate, eps_hat = guided_estimate(step)
        sigma, level = process.sigma(t, x_t.dtype), noise_ratio(process, t)
        corrected = x_t + rows_like(2 * self.snr * sigma, x_t) * (step.noise - self.snr * eps_hat)
        level_next = noise_ratio(process, t_next)
        drop = (level.square() - level_next.square()).clamp_min(0)
        pull, spread = (drop / level).to(x_t), drop.sqrt().to(x_t)
        signal, signal_next = (process.alpha_bar(at, x_t.dtype).sqrt() for at in (t, t_next))
        predicted = rows_like(signal_next, x_t) * (
            x_t / rows_like(signal, x_t) - rows_like(pull, x_t) * eps_hat + rows_like(spread, x_t) * step.noise
        )
        moved = torch.where(rows_like(t_next == t, x_t), corrected, predicted)
        return Reverse(torch.where(rows_like(step.ends, x_t), estimate, moved), estimate)
