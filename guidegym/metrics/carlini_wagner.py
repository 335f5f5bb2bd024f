"""Carlini and Wagner's attack: the smallest change of an input that changes its class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import rows_like
from guidegym.errors import GuideGymError
from guidegym.metrics.pgd import Attacked, asked, fooled


@dataclass(frozen=True)
class Smallest:
    """What the attack found: inputs of another class, and how far they are; rows it could not fool are as they were.

    Args:
        attacked: The inputs.
        norms: L2 distances; infinite where none was found.
    """

    attacked: Float[Tensor, " batch *event"]
    norms: Float[Tensor, " batch"]


def _margin(logits: Tensor, labels: Tensor, *, targeted: bool, confidence: float) -> Float[Tensor, " batch"]:
    """Return how much is missing to be fooled: the wanted class' logit behind the other's, at least ``-confidence``."""
    own = logits.gather(1, labels[:, None])[:, 0]
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    behind = other - own if targeted else own - other
    return (behind + confidence).clamp_min(0.0)


def carlini_wagner_l2(
    classifier: Attacked,
    x: Float[Tensor, " batch *event"],
    labels: Int[Tensor, " batch"],
    *,
    t: Float[Tensor, " batch"] | None = None,
    targeted: bool = False,
    confidence: float = 0.0,
    num_steps: int = 100,
    search_steps: int = 6,
    step_size: float = 0.01,
    initial_weight: float = 0.1,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Smallest:
    r"""Return near inputs of another class, by minimising distance plus a weighted margin over a change of variables.

    .. math:: \min_w \|x(w) - x\|_2^2 + c \max(f_y - \max_{i \ne y} f_i + \kappa, 0), \quad
              x(w) = \tfrac{a + b}{2} + \tfrac{b - a}{2} \tanh w

    with Adam, and a binary search for the smallest weight ``c`` of each row that still fools. All rows run together. The
    network's parameters receive no gradient, and callers may be inside ``no_grad``.

    Args:
        classifier: From inputs, and the timestep if there is one, to logits.
        x: Inputs inside ``bounds``.
        labels: Their true classes; with ``targeted`` the classes to reach.
        t: Training timestep of each row, for a classifier of noisy inputs.
        targeted: Whether ``labels`` are to be reached.
        confidence: Margin ``kappa`` >= 0 that the other class must win by.
        num_steps: Steps of Adam for each weight, >= 1.
        search_steps: Weights tried, >= 1.
        step_size: Rate of Adam, > 0.
        initial_weight: The first ``c``, > 0; it is multiplied by 10 until a row is fooled, then halved in between.
        bounds: Range ``(a, b)`` that inputs stay in.

    Raises:
        GuideGymError: If a setting is out of range.

    Source:
        Carlini and Wagner 2017, section VI-A; Yang et al. 2021, appendix (norms of GMMC).
    """
    for name, value in (("num_steps", num_steps), ("search_steps", search_steps)):
        if value < 1:
            raise GuideGymError(f"`{name}` must be >= 1, got {value}")
    if not (step_size > 0 and initial_weight > 0 and confidence >= 0):
        raise GuideGymError(
            f"`step_size` and `initial_weight` must be > 0 and `confidence` >= 0, got {step_size}, {initial_weight}, {confidence}"
        )
    middle, half = (bounds[1] + bounds[0]) / 2, (bounds[1] - bounds[0]) / 2
    x = x.detach()
    # An input on the bound would start at infinity, where tanh has no gradient.
    start = torch.atanh(((x - middle) / half).clamp(-1 + 1e-6, 1 - 1e-6))
    best, norms = x.clone(), torch.full((len(x),), torch.inf, device=x.device, dtype=x.dtype)
    low, high = torch.zeros_like(norms), torch.full_like(norms, torch.inf)
    weight = torch.full_like(norms, initial_weight)
    for _ in range(search_steps):
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        w = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([w], lr=step_size)
        for _ in range(num_steps):
            with torch.enable_grad():
                attacked = middle + half * torch.tanh(w)
                logits = asked(classifier, attacked, t)
                squared = (attacked - x).flatten(1).square().sum(dim=1)
                missing = _margin(logits, labels, targeted=targeted, confidence=confidence)
                (w.grad,) = torch.autograd.grad((squared + weight * missing).sum(), w)
            done = fooled(logits, labels, targeted) & (missing <= 0)
            distance = squared.detach().sqrt()
            nearer = done & (distance < norms)
            best = torch.where(rows_like(nearer, x), attacked.detach(), best)
            norms, found = torch.where(nearer, distance, norms), found | done
            optimizer.step()
        high, low = torch.where(found, weight.minimum(high), high), torch.where(found, low, weight.maximum(low))
        weight = torch.where(high.isinf(), weight * 10, (low + high) / 2)
    return Smallest(best, norms)
