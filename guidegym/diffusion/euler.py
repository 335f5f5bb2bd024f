"""Euler's method for the probability-flow ODE."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.process import rows_like
from guidegym.diffusion.sampler import OdeSampler, Reverse, Step, WithoutMemory
from guidegym.registry import register


def euler_step(
    step: Step, estimate: Float[Tensor, " batch *event"], slope: Float[Tensor, " batch *event"]
) -> Float[Tensor, " batch *event"]:
    r"""Return :math:`a_{t'} \hat x_0 + \sigma_{t'} \hat\epsilon`, the end of a step along the slope in noise level.

    It is :math:`a_{t'} \bar x_{t'}` of ``Euler``, written so that a step may start where the signal ends.
    """
    return rows_like(step.alpha_bar_next.sqrt(), step.x) * estimate + rows_like(step.sigma_next, step.x) * slope


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
        return Reverse(euler_step(step, estimate, slope), estimate)
