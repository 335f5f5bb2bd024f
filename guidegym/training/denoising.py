"""How denoisers are trained, for no class or for one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import VPProcess
from guidegym.training.loss import UNKNOWN, Loss, noised


def noise_prediction(process: VPProcess) -> Loss:
    r"""Mean squared error of the predicted noise, :math:`E_{t, \epsilon} \|\epsilon - \epsilon_\theta(x_t, t)\|^2`.

    Source:
        Ho et al. 2020, eq. 14.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        return functional.mse_loss(network(rows.x_t, rows.t.float()), rows.noise)

    return loss


def conditional_noise_prediction(process: VPProcess, *, dropout: float) -> Loss:
    r"""Mean squared error of the noise predicted for a row's class, which a share ``dropout`` of the rows is not told.

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
        return functional.mse_loss(network(rows.x_t, rows.t.float(), labels.where(~dropped, UNKNOWN)), rows.noise)

    return loss
