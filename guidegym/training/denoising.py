"""How denoisers are trained, for no class or for one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import Process, noise_share, rows_like
from guidegym.training.loss import UNKNOWN, Loss, Noised, noised

LEAST_SIGNAL = 1e-3
"""Share of signal variance from which on the weight of an error no longer grows: single precision would not carry it."""


def velocity_error(process: Process, eps: Float[Tensor, " batch *event"], rows: Noised) -> Float[Tensor, ""]:
    r"""Return the mean squared error of the velocity that a predicted noise means, for rows scaled to unit variance.

    .. math:: \|v - v_\theta\|^2 = \|\epsilon - \epsilon_\theta\|^2 / a_t^2, \quad
              v = a_t \epsilon - \sigma_t x_0, \quad a_t^2 + \sigma_t^2 = 1

    Of the clean image this counts errors by 1 + SNR, and so by at least 1: at high noise, where a guided chain decides what
    it becomes, the error of the noise alone counts for next to nothing.

    Source:
        Salimans and Ho 2022, section 4.
    """
    signal = (1 - noise_share(process, rows.t)).to(eps.dtype).clamp_min(LEAST_SIGNAL)
    return ((eps - rows.noise).square() / rows_like(signal, eps)).mean()


def noise_prediction(process: Process) -> Loss:
    r"""Velocity error of the predicted noise; see ``velocity_error``.

    Source:
        Ho et al. 2020, section 3.4; Salimans and Ho 2022 for the weight of each noise level.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        return velocity_error(process, network(rows.x_t, rows.t.float()), rows)

    return loss


def conditional_noise_prediction(process: Process, *, dropout: float) -> Loss:
    r"""Velocity error of the noise predicted for a row's class, which a share ``dropout`` of the rows is not told.

    Rows of unknown class are predicted for any class: with them among the data this is what trains on all of it.

    Source:
        Ho and Salimans 2022, Algorithm 1.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        dropped = torch.rand(len(labels), generator=generator, device=labels.device) < dropout
        return velocity_error(process, network(rows.x_t, rows.t.float(), labels.where(~dropped, UNKNOWN)), rows)

    return loss
