"""What each network is trained to minimise, one function a loss, each a mean over one batch."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import VPProcess
from guidegym.metrics.attacks import pgd_l2

Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""``(network, images in [-1, 1], labels, generator) -> scalar``."""


def _noised(process: VPProcess, x_0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``x_t``, the noise in it and ``t``, with timesteps spread evenly over the batch (less variance than iid)."""
    batch = len(x_0)
    offsets = torch.rand(batch, generator=generator, device=x_0.device)
    strata = torch.randperm(batch, generator=generator, device=x_0.device)
    t = ((strata + offsets) / batch * process.num_timesteps).long().clamp(max=process.num_timesteps - 1)
    noise = torch.randn(x_0.shape, generator=generator, device=x_0.device)
    return process.q_sample(x_0, t, noise=noise), noise, t


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
        x_t, noise, t = _noised(process, images, generator)
        return functional.mse_loss(network(x_t, t.float()), noise)

    return loss


def conditional_noise_prediction(process: VPProcess, *, dropout: float) -> Loss:
    r"""Mean squared error of the noise predicted for a row's class, which a share ``dropout`` of the rows is not told.

    Source:
        Ho and Salimans 2022, Algorithm 1.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        x_t, noise, t = _noised(process, images, generator)
        dropped = torch.rand(len(labels), generator=generator, device=labels.device) < dropout
        return functional.mse_loss(network(x_t, t.float(), labels.where(~dropped, -1)), noise)

    return loss


def noisy_cross_entropy(process: VPProcess) -> Loss:
    r"""Cross-entropy on noisy images, :math:`E_t [-\log p(y | x_t, t)]` with :math:`t \sim U\{0..T-1\}`."""

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        x_t, _, t = _noised(process, images, generator)
        return functional.cross_entropy(network(x_t, t.float()), labels)

    return loss


def adversarial_cross_entropy(*, radius: float, num_steps: int) -> Loss:
    """Cross-entropy on the worst images within an L2 ``radius``, found by PGD from a random start.

    Source:
        Wang 2024, section 4.2; Madry et al. 2018.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        attacked = pgd_l2(network, images, labels, radius=radius, num_steps=num_steps, generator=generator)
        return functional.cross_entropy(network(attacked), labels)

    return loss


def shifted_cross_entropy(*, shift: int, smoothing: float) -> Loss:
    """Cross-entropy with label smoothing on clean images moved by up to ``shift`` pixels each way."""

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch channels height width"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, (shift, shift, shift, shift), value=-1.0)
        moves = torch.randint(2 * shift + 1, (2, len(images)), generator=generator, device=images.device)
        rows = moves[0][:, None] + torch.arange(height, device=images.device)
        columns = moves[1][:, None] + torch.arange(width, device=images.device)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        moved = padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return functional.cross_entropy(network(moved), labels, label_smoothing=smoothing)

    return loss
