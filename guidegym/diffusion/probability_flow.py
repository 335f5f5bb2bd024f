"""The probability-flow ODE, second order."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import Reverse, check_num_steps, guided_estimate, subsequence
from guidegym.registry import register
from guidegym.settings import plain_fields


@register("sampler", "probability_flow")
@dataclass(frozen=True)
class ProbabilityFlow:
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

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: never."""
        return False

    def timesteps(self, process: Process) -> Int[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, a level where a step is corrected twice, closed by -1."""
        odd = self.num_steps % 2
        levels = subsequence(min((self.num_steps + 2 + odd) // 2, self.num_steps), "trailing", process)
        counts = torch.full((len(levels),), 2)
        counts[: 2 + odd] = counts[-1] = 1
        return levels.repeat_interleave(counts)

    def step(
        self,
        x_t: Float[Tensor, " batch *event"],
        eps: Float[Tensor, " batch *event"],
        shift: Float[Tensor, " batch *event"] | None,
        *,
        t: Int[Tensor, " batch"],
        t_prev: Int[Tensor, " batch"],
        process: Process,
        noise: Float[Tensor, " batch *event"] | None,
        clip: float | None,
        x_0: Float[Tensor, " batch *event"] | None = None,
    ) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        estimate, slope = guided_estimate(x_t, eps, shift, t=t, process=process, clip=clip)
        level, level_prev = noise_ratio(process, t), noise_ratio(process, t_prev)
        signal, signal_prev = (process.alpha_bar(at, x_t.dtype).sqrt() for at in (t, t_prev))
        x_bar = x_t / rows_like(signal, x_t)
        moved = x_bar + rows_like((level_prev - level).to(x_t), x_t) * slope
        if x_0 is not None:
            before = noise_ratio(process, _level_before(self, process, t))
            # Euler's step went along the line from the clean estimate of that step: its slope need not be remembered.
            slope_before = (x_bar - x_0) / rows_like(level.to(x_t), x_t)
            corrected = x_bar + rows_like(((level - before) / 2).to(x_t), x_t) * (slope - slope_before)
            moved = torch.where(rows_like(t_prev == t, x_t), corrected, moved)
        return Reverse(rows_like(signal_prev, x_t) * moved, estimate)


def _level_before(sampler: ProbabilityFlow, process: Process, t: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return the level that each row was at before it came to ``t``; the highest has none and gets itself."""
    levels = sampler.timesteps(process)[:-1].unique().to(t.device)
    before: Tensor = levels[(torch.searchsorted(levels, t.contiguous()) + 1).clamp(max=len(levels) - 1)]
    return before
