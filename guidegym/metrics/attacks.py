"""Adversarial attacks: the worst input near a given one, used to train robust classifiers and to measure them."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def project_l2(delta: Float[Tensor, " batch *event"], radius: float) -> Float[Tensor, " batch *event"]:
    """Shrink each row of ``delta`` onto the L2 ball of ``radius``."""
    norm = delta.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *([1] * (delta.ndim - 1)))
    shrunk: Tensor = delta * (radius / norm).clamp(max=1.0)
    return shrunk


def pgd_l2(
    logits_of: Callable[[Tensor], Tensor],
    x: Float[Tensor, " batch *event"],
    labels: Int[Tensor, " batch"],
    *,
    radius: float,
    num_steps: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " batch *event"]:
    r"""Return inputs within an L2 distance that raise the cross-entropy, by projected gradient ascent.

    .. math:: \delta \leftarrow \Pi_{\|\delta\|_2 \le r}\left(\delta + \frac{2.5\, r}{n} \frac{g}{\|g\|_2}\right)

    Inputs stay in [-1, 1]. The network's parameters receive no gradient, and callers may be inside ``no_grad``.

    Args:
        logits_of: The classifier, from inputs to logits.
        x: Clean inputs in [-1, 1].
        labels: Their true classes.
        radius: L2 radius ``r`` >= 0 in the units of ``x``.
        num_steps: Number ``n`` of steps, >= 1.
        generator: Source of a random start inside the ball; without it the start is ``x``.

    Source:
        Madry et al. 2018; step size as in Kawar et al. 2022, appendix E.
    """
    delta = torch.zeros_like(x)
    if generator is not None:
        direction = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        delta = project_l2(direction, 1.0) * radius * torch.rand(1, generator=generator, device=x.device)
    step_size = 2.5 * radius / num_steps
    for _ in range(num_steps):
        with torch.enable_grad():
            attacked = (x + delta).clamp(-1, 1).requires_grad_(True)
            loss = functional.cross_entropy(logits_of(attacked), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, attacked)
        norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *([1] * (x.ndim - 1)))
        delta = project_l2(attacked.detach() - x + step_size * gradient / norm, radius)
    return (x + delta).clamp(-1, 1).detach()
