"""The probability-flow ODE, second order."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import (
    Deterministic,
    Memory,
    Reverse,
    Step,
    check_num_steps,
    guided_estimate,
)
from guidegym.registry import register
from guidegym.support.settings import plain_fields


@register("sampler", "probability_flow")
@dataclass(frozen=True)
class ProbabilityFlow(Deterministic):
    r"""The probability-flow ODE by Heun's method: deterministic, of second order.

    In units where the signal keeps its size, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}`, the ODE is :math:`d\bar x / d\bar\sigma = \hat\epsilon(\bar x)`.
    A step of Euler's method goes to the next level; a second evaluation there puts the mean of both slopes in place of the
    first. Euler's alone is the last step, to the clean estimate, and the first: from nearly pure noise, where
    :math:`\bar\sigma` is in the thousands under a cosine process, a correction would multiply any difference of two slopes by
    as much. Euler's method throughout is ``DDIM`` with ``eta`` = 0.

    Args:
        num_steps: Network evaluations per row: one for the highest level, one for the next, two for each below it; where ``n`` is
            odd there is one more level whose step is not corrected, the one after those.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, Algorithm 1.
    """

    num_steps: int = 36

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, a level where a step is corrected twice, closed by -1."""
        odd = self.num_steps % 2
        levels = process.times(min((self.num_steps + 2 + odd) // 2, self.num_steps))
        counts = torch.full((len(levels),), 2)
        counts[: 2 + odd] = counts[-1] = 1
        return levels.repeat_interleave(counts)

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return no estimate, and 0 for the noise level that each row came from: none yet."""
        return {"x_0": torch.zeros_like(x), "level": torch.zeros(len(x), dtype=torch.float64, device=x.device)}

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x_t, t, t_next, process = step.x, step.t, step.t_next, step.process
        estimate, slope = guided_estimate(step)
        level, level_next = noise_ratio(process, t), noise_ratio(process, t_next)
        signal, signal_next = (process.alpha_bar(at, x_t.dtype).sqrt() for at in (t, t_next))
        x_bar = x_t / rows_like(signal, x_t)
        moved = x_bar + rows_like((level_next - level).to(x_t), x_t) * slope
        # Euler's step went along the line from the clean estimate of that step: its slope need not be remembered.
        before = step.memory["level"]
        slope_before = (x_bar - step.memory["x_0"]) / rows_like(level.to(x_t), x_t)
        half = (level - before) / 2
        corrected = x_bar + rows_like(half.to(x_t), x_t) * (slope - slope_before)
        moved = torch.where(rows_like((t_next == t) & (before > 0), x_t), corrected, moved)
        return Reverse(rows_like(signal_next, x_t) * moved, estimate, {"x_0": estimate, "level": level})
