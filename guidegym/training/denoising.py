"""Losses of denoisers, unconditional and conditional."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import Process, noise_share, rows_like
from guidegym.training.loss import UNKNOWN, Loss, Noised, noised

LEAST_SIGNAL = 1e-3
"""Share of signal variance below which the weight of an error stays constant, for the sake of single precision."""


def velocity_error(process: Process, eps: Float[Tensor, " batch *event"], rows: Noised) -> Float[Tensor, ""]:
    r"""Return the mean squared error of the velocity implied by a predicted noise, for rows scaled to unit variance.

    .. math:: \|v - v_\theta\|^2 = \|\epsilon - \epsilon_\theta\|^2 / a_t^2, \quad
              v = a_t \epsilon - \sigma_t x_0, \quad a_t^2 + \sigma_t^2 = 1

    This weights errors of the clean image by 1 + SNR, which is at least 1; the error of the noise alone has almost no weight at
    high noise, where a guided chain takes its decisions.

    Source:
        Salimans and Ho 2022, section 4.
    """
    signal = (1 - noise_share(process, rows.t)).to(eps.dtype).clamp_min(LEAST_SIGNAL)
    return ((eps - rows.noise).square() / rows_like(signal, eps)).mean()


def noise_prediction(process: Process) -> Loss:
    r"""Return the velocity error of the predicted noise; see ``velocity_error``.

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


def text_noise_prediction(process: Process, texts: Float[Tensor, " classes texts dim"], *, dropout: float) -> Loss:
    """Return the velocity error of the noise predicted for one of the texts of each row's class, drawn at random.

    Args:
        process: The noise process.
        texts: Embeddings of texts that say a class, equally many per class.
        dropout: Share of rows whose text is dropped.

    Source:
        Ho and Salimans 2022, Algorithm 1.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows, num, device = noised(process, images, generator), len(labels), labels.device
        drawn = torch.randint(texts.shape[1], (num,), generator=generator, device=device)
        kept = torch.rand(num, generator=generator, device=device) >= dropout
        text = texts.to(images)[labels, drawn] * kept[:, None]
        return velocity_error(process, network(rows.x_t, rows.t.float(), text=text), rows)

    return loss


def conditional_noise_prediction(process: Process, *, dropout: float) -> Loss:
    r"""Return the velocity error of the noise predicted for each row's class, dropped for a share ``dropout`` of the rows.

    Rows of unknown class are predicted without a class, which allows training on all data.

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
