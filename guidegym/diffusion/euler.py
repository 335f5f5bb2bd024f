"""Euler's method for the probability-flow ODE."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from guidegym.diffusion.process import Process, noise_ratio, rows_like
from guidegym.diffusion.sampler import (
    Reverse,
    Step,
    WithoutMemory,
    check_num_steps,
    guided_estimate,
    subsequence,
)
from guidegym.registry import register
from guidegym.settings import plain_fields


@register("sampler", "euler")
@dataclass(frozen=True)
class Euler(WithoutMemory):
    r"""Euler's method for the probability-flow ODE: deterministic, of first order.

    In units where the signal keeps its size, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}`,

    .. math:: \bar x_{t'} = \bar x_t + (\bar\sigma_{t'} - \bar\sigma_t)\, \hat\epsilon(\bar x_t)

    which is ``DDIM`` with ``eta`` = 0, to rounding.

    Args:
        num_steps: Number of reverse steps, one network evaluation each.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, section 2.
    """

    num_steps: int = 50

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: never."""
        return False

    def timesteps(self, process: Process) -> Int[Tensor, " steps_and_end"]:
        """Return the descending training timesteps, closed by -1."""
        return subsequence(self.num_steps, "trailing", process)

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x, process = step.x, step.process
        estimate, slope = guided_estimate(step)
        signal, signal_next = (process.alpha_bar(t, x.dtype).sqrt() for t in (step.t, step.t_next))
        drop = (noise_ratio(process, step.t_next) - noise_ratio(process, step.t)).to(x)
        moved = x / rows_like(signal, x) + rows_like(drop, x) * slope
        return Reverse(rows_like(signal_next, x) * moved, estimate)
