"""Self-calibration: a classifier whose own energy has the score of the data."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import Process
from guidegym.training.loss import Loss, Noised, labelled_cross_entropy, noised


def calibration_terms(logits: Float[Tensor, " batch classes"], rows: Noised) -> Float[Tensor, " batch"]:
    r"""Return each row's :math:`\frac{\lambda_t}{2} \|\nabla \log \sum_y e^{f(x_t)_y} - \nabla \log q(x_t | x_0)\|^2`.

    With :math:`\lambda_t = \sigma_t^2` and :math:`\nabla \log q = -\epsilon / \sigma_t` this is
    :math:`\frac12 \|\sigma_t s(x_t) + \epsilon\|^2`: all noise levels have equal weight.
    The logits must have been computed from ``rows.x_t`` with gradients.

    Source:
        CG-SC, eq. 7-8.
    """
    (score,) = torch.autograd.grad(logits.logsumexp(dim=1).sum(), rows.x_t, create_graph=True)
    return (rows.sigma * score + rows.noise).flatten(1).square().sum(dim=1) / 2


def self_calibrated(process: Process, *, weight: float) -> Loss:
    r"""Return cross-entropy of the labelled rows plus the self-calibration loss of all rows.

    .. math:: L = L_{CE} + \lambda_{SC} L_{SC}

    The recipe's batches determine whether all rows are labelled (``SC-labeled``) or half of each batch comes from all data
    (``SC-all``); the loss is the same.

    Args:
        process: The noise process.
        weight: Weight :math:`\lambda_{SC}` >= 0 of a loss that sums over pixels; the paper searches 10, 1, 0.1, 0.01.

    Source:
        CG-SC, eq. 9 and Algorithm 1.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        rows.x_t.requires_grad_(True)
        logits = network(rows.x_t, rows.t.float())
        return labelled_cross_entropy(logits, labels) + weight * calibration_terms(logits, rows).mean()

    return loss
