"""Euler's method for the probability-flow ODE."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion.process import noise_ratio, rows_like
from guidegym.diffusion.sampler import OdeSampler, Reverse, Step, WithoutMemory, guided_estimate
from guidegym.registry import register


def euler_step(step: Step, slope: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch *event"]:
    r"""Return the result of a step along a slope in noise level: :math:`\sqrt{\bar\alpha_{t'}}\, \bar x_{t'}` of ``Euler``."""
    x, process = step.x, step.process
    signal, signal_next = (process.alpha_bar(t, x.dtype).sqrt() for t in (step.t, step.t_next))
    drop = (noise_ratio(process, step.t_next) - noise_ratio(process, step.t)).to(x)
    return rows_like(signal_next, x) * (x / rows_like(signal, x) + rows_like(drop, x) * slope)


@register("sampler", "euler")
@dataclass(frozen=True)
class Euler(OdeSampler, WithoutMemory):
    r"""Euler's method for the probability-flow ODE: deterministic, of first order.

    In units in which the signal is unscaled, :math:`\bar x = x / \sqrt{\bar\alpha_t}` with noise level
    :math:`\bar\sigma_t = \sigma_t / \sqrt{\bar\alpha_t}`,

    .. math:: \bar x_{t'} = \bar x_t + (\bar\sigma_{t'} - \bar\sigma_t)\, \hat\epsilon(\bar x_t)

    which equals ``DDIM`` with ``eta`` = 0 up to rounding.

    Args:
        num_steps: Number of reverse steps, one network evaluation each.

    Source:
        Song et al. 2021b, eq. 13; Karras et al. 2022, section 2.
    """

    num_steps: int = 50

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        estimate, slope = guided_estimate(step)
        return Reverse(euler_step(step, slope), estimate)
