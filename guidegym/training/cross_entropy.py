"""Cross-entropy on noisy images and on clean ones: the plain classifiers and the judges."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import Process
from guidegym.training.loss import Loss, labelled_cross_entropy, noised


def noisy_cross_entropy(process: Process, *, smoothing: float = 0.0) -> Loss:
    r"""Return cross-entropy on noisy images, :math:`E_t [-\log p(y | x_t, t)]` with :math:`t \sim U\{0..T-1\}`.

    Args:
        process: The noise process.
        smoothing: Share of each target that is spread evenly over all classes; the paper tries 0.1 and 0.05.

    Source:
        CG-SC, section 4.1 (vanilla and label smoothing).
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        return labelled_cross_entropy(network(rows.x_t, rows.t.float()), labels, smoothing=smoothing)

    return loss


def shifted_cross_entropy(*, shift: int, smoothing: float) -> Loss:
    """Return cross-entropy with label smoothing on clean images shifted by up to ``shift`` pixels each way."""

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
        return labelled_cross_entropy(network(moved), labels, smoothing=smoothing)

    return loss
