"""The probability-flow ODE, second order."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.euler import euler_step
from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import Deterministic, Memory, Reverse, Step, check_num_steps
from guidegym.registry import register
from guidegym.support.settings import plain_fields


@register("sampler", "probability_flow")
@dataclass(frozen=True)
class ProbabilityFlow(Deterministic):
    r"""The probability-flow ODE by Heun's method: deterministic, of second order.

    In units in which the signal is unscaled, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}`, the ODE is :math:`d\bar x / d\bar\sigma = \hat\epsilon(\bar x)`.
    A step of Euler's method goes to the next level; after a second evaluation there, the mean of both slopes replaces the
    first. The last step, to the clean estimate, and the first are plain Euler steps: from nearly pure noise, where
    :math:`\bar\sigma` is in the thousands under a cosine process, a correction would multiply any difference of the slopes by
    as much. Euler's method throughout is ``DDIM`` with ``eta`` = 0.

    Args:
        num_steps: Network evaluations per row: one for the highest level, one for the next, two for each below it; if the number
            is odd, there is one more level without correction after those.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, Algorithm 1.
    """

    num_steps: int = 36

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, with corrected levels twice, followed by -1."""
        odd = self.num_steps % 2
        levels = process.times(min((self.num_steps + 2 + odd) // 2, self.num_steps))
        counts = torch.full((len(levels),), 2)
        counts[: 2 + odd] = counts[-1] = 1
        return levels.repeat_interleave(counts)

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return zeros for the previous estimate and noise level of each row: there are none yet."""
        return {"x_0": torch.zeros_like(x), "level": torch.zeros(len(x), dtype=torch.float64, device=x.device)}

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        estimate, slope = guided_estimate(step)
        level = noise_ratio(process, t)
        signal = process.alpha_bar(t, x_t.dtype).sqrt()
        x_bar = x_t / rows_like(signal, x_t)
        moved = euler_step(step, estimate, slope)
        # Euler's step lies on the line from that step's clean estimate, so its slope need not be stored.
        before = step.memory["level"]
        slope_before = (x_bar - step.memory["x_0"]) / rows_like(level.to(x_t), x_t)
        half = (level - before) / 2
        corrected = rows_like(signal, x_t) * (x_bar + rows_like(half.to(x_t), x_t) * (slope - slope_before))
        # A step from where the signal ends, at an infinite level, cannot be corrected.
        corrects = (t_next == t) & (before > 0) & before.isfinite()
        moved = torch.where(rows_like(corrects, x_t), corrected, moved)
        return Reverse(moved, estimate, {"x_0": estimate, "level": level})
