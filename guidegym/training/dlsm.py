"""Denoising likelihood score matching: a classifier whose gradient completes a given denoiser's score."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import Process
from guidegym.guidance import Denoiser
from guidegym.training.loss import UNKNOWN, Loss, labelled_cross_entropy, noised


def denoising_likelihood_score_matching(process: Process, denoiser: Denoiser, *, weight: float = 1.0) -> Loss:
    r"""Return cross-entropy plus the error of the likelihood score combined with a trained denoiser.

    .. math:: L = L_{CE} + w\, E_t \frac{\lambda_t}{2}
              \|\nabla \log p(y|x_t) + s_\theta(x_t) - \nabla \log q(x_t | x_0)\|^2, \quad \lambda_t = \sigma_t^2

    With :math:`s_\theta = -\epsilon_\theta / \sigma_t` the norm is that of
    :math:`\sigma_t \nabla \log p(y|x_t) - \epsilon_\theta + \epsilon`.

    Args:
        process: The noise process.
        denoiser: Provides the score; it is not trained.
        weight: Weight ``w`` >= 0 of the sum over pixels; 1 in the paper.

    Source:
        CG-SC, eq. 5; Chao et al. 2022, eq. 12.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        t = rows.t.float()
        with torch.no_grad():
            missing = rows.noise - denoiser(rows.x_t, t)
        rows.x_t.requires_grad_(True)
        logits = network(rows.x_t, t)
        log_likelihood = -functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum")
        (gradient,) = torch.autograd.grad(log_likelihood, rows.x_t, create_graph=True)
        squared = (rows.sigma * gradient + missing).flatten(1).square().sum(dim=1) / 2
        known = labels != UNKNOWN
        return labelled_cross_entropy(logits, labels) + weight * squared[known].mean()

    return loss
