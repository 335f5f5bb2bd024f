"""Jacobian regularisation: logits that change little with the image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import Process
from guidegym.training.loss import Loss, labelled_cross_entropy, noised


def jacobian_regularised(process: Process, *, weight: float = 0.01) -> Loss:
    r"""Return cross-entropy plus the squared norm of the logits' Jacobian, estimated from one random direction per row.

    .. math:: L = L_{CE} + \frac{\lambda}{2} E_t \|\partial f / \partial x_t\|_F^2, \qquad
              \|J\|_F^2 = K\, E_{v \sim S^{K-1}} \|v^\top J\|_2^2

    Args:
        process: The noise process.
        weight: Weight ``lambda`` >= 0; the paper uses 0.01.

    Source:
        Hoffman et al. 2019, eq. 5-6; CG-SC, section 4.1.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        x_t = rows.x_t.requires_grad_(True)
        logits = network(x_t, rows.t.float())
        direction = torch.randn(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
        along = (functional.normalize(direction, dim=1) * logits).sum()
        (pulled,) = torch.autograd.grad(along, x_t, create_graph=True)
        squared: Tensor = logits.shape[1] * pulled.flatten(1).square().sum(dim=1)
        return labelled_cross_entropy(logits, labels) + weight / 2 * squared.mean()

    return loss
