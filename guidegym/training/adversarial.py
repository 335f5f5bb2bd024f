"""Cross-entropy on attacked images: clean ones (off the shelf) and noisy ones (robust and time-dependent)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.attacks.pgd import Norm, pgd
from guidegym.diffusion import Process
from guidegym.training.loss import Loss, labelled_cross_entropy, noised


def adversarial_cross_entropy(*, radius: float, num_steps: int, norm: Norm = "l2") -> Loss:
    """Return cross-entropy on the worst images within a ``radius``, found by PGD from a random start; 0 is no attack.

    Source:
        Wang 2024, section 4.2; Madry et al. 2018.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        if radius > 0:
            images = pgd(network, images, labels, radius=radius, num_steps=num_steps, norm=norm, generator=generator)
        return labelled_cross_entropy(network(images), labels)

    return loss


def noisy_adversarial_cross_entropy(process: Process, *, radius: float, num_steps: int = 7, norm: Norm = "l2") -> Loss:
    r"""Return cross-entropy on attacked noisy images, with each attack stopped as soon as it fools the network.

    .. math:: E_t\, [-\log p(y | A(x_t), t)], \qquad \|A(x_t) - x_t\| \le r

    Args:
        process: The noise process.
        radius: Radius ``r`` of the attack in units of [-1, 1] images; the paper uses 0.5 in L2.
        num_steps: Maximum number of attack steps, of length 2.5 r / n each.
        norm: ``l2`` or ``linf``.

    Source:
        Kawar et al. 2022, eq. 5, section 5.1, appendix E.
    """

    def loss(
        network: nn.Module,
        images: Float[Tensor, " batch *event"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        rows = noised(process, images, generator)
        t = rows.t.float()
        attacked = pgd(
            network, rows.x_t, labels, t=t, radius=radius, num_steps=num_steps, norm=norm, early_stop=True, bounds=None
        )
        return labelled_cross_entropy(network(attacked, t), labels)

    return loss
