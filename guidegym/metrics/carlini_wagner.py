"""Carlini and Wagner's attack: the smallest change of an input that changes its class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import rows_like
from guidegym.metrics.pgd import Attacked, asked, fooled
from guidegym.settings import check_count, check_range


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


def _descend(
    objective: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    x: Float[Tensor, " batch *event"],
    weight: Float[Tensor, " batch"],
    *,
    bounds: tuple[float, float],
    num_steps: int,
    step_size: float,
) -> Smallest:
    """Minimise squared distance plus ``weight`` times the margin, and return the nearest that fooled on the way.

    Args:
        objective: From inputs to squared distances, what is missing of the margin, and which rows are fooled.
        x: Where to start.
        weight: Weight of each row's margin.
        bounds: Range that inputs stay in.
        num_steps: Steps of Adam.
        step_size: Its rate.
    """
    middle, half = (bounds[1] + bounds[0]) / 2, (bounds[1] - bounds[0]) / 2
    # An input on the bound would start at infinity, where tanh has no gradient.
    w = torch.atanh(((x - middle) / half).clamp(-1 + 1e-6, 1 - 1e-6)).requires_grad_(True)
    best, norms = x.clone(), torch.full_like(weight, torch.inf)
    optimizer = torch.optim.Adam([w], lr=step_size)
    for _ in range(num_steps):
        with torch.enable_grad():
            attacked = middle + half * torch.tanh(w)
            squared, missing, done = objective(attacked)
            (w.grad,) = torch.autograd.grad((squared + weight * missing).sum(), w)
        distance = squared.detach().sqrt()
        nearer = done & (distance < norms)
        best, norms = torch.where(rows_like(nearer, x), attacked.detach(), best), torch.where(nearer, distance, norms)
        optimizer.step()
    return Smallest(best, norms)


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
    check_count("num_steps", num_steps, least=1)
    check_count("search_steps", search_steps, least=1)
    check_range("step_size", step_size, above=0)
    check_range("initial_weight", initial_weight, above=0)
    check_range("confidence", confidence, least=0)
    x = x.detach()

    def objective(attacked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = asked(classifier, attacked, t)
        squared = (attacked - x).flatten(1).square().sum(dim=1)
        missing = _margin(logits, labels, targeted=targeted, confidence=confidence)
        return squared, missing, fooled(logits, labels, targeted) & (missing <= 0)

    best = Smallest(x.clone(), torch.full((len(x),), torch.inf, device=x.device, dtype=x.dtype))
    low, high = torch.zeros_like(best.norms), torch.full_like(best.norms, torch.inf)
    weight = torch.full_like(best.norms, initial_weight)
    for _ in range(search_steps):
        found = _descend(objective, x, weight, bounds=bounds, num_steps=num_steps, step_size=step_size)
        nearer, done = found.norms < best.norms, found.norms.isfinite()
        best = Smallest(
            torch.where(rows_like(nearer, x), found.attacked, best.attacked), found.norms.minimum(best.norms)
        )
        high, low = torch.where(done, weight.minimum(high), high), torch.where(done, low, weight.maximum(low))
        weight = torch.where(high.isinf(), weight * 10, (low + high) / 2)
    return best
