"""Carlini and Wagner's attack: the smallest change of an input that changes its class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.attacks.pgd import Attacked, check_inside, fooled, logits_of, margin, pgd
from guidegym.diffusion import rows_like
from guidegym.support.autograd import input_gradient, ordinary, without_graph
from guidegym.support.settings import check_count, check_range

CLIMB_STEPS = 60
"""Steps of the ascent across the nearest decision boundary, from which every other descent starts."""


@dataclass(frozen=True)
class Smallest:
    """The attack's result: inputs of another class and their distances; rows that were not fooled are unchanged.

    Args:
        attacked: The inputs.
        norms: L2 distances; infinite if none was found.
    """

    attacked: Float[Tensor, " batch *event"]
    norms: Float[Tensor, " batch"]


def _descend(
    objective: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    start: Float[Tensor, " batch *event"],
    weight: Float[Tensor, " batch"],
    *,
    bounds: tuple[float, float],
    num_steps: int,
    step_size: float,
) -> tuple[Smallest, Bool[Tensor, " batch"]]:
    """Minimise squared distance plus ``weight`` times the margin, by Adam at a rate that falls linearly to 0.

    Return the nearest fooling inputs on the path, and whether the weight was enough: whether a row still fooled in the second
    half of the path. A row that starts beyond a boundary fools at first under any weight. The objective gives squared
    distances, remaining margins, and which rows are fooled.
    """
    attacked = start.clone().requires_grad_(True)
    best, norms = start.clone(), torch.full_like(weight, torch.inf)
    enough = torch.zeros_like(norms, dtype=torch.bool)
    optimizer = torch.optim.Adam([attacked], lr=step_size)
    for number in range(num_steps):
        with torch.enable_grad():
            squared, missing, done = objective(attacked)
            attacked.grad = input_gradient((squared + weight * missing).sum(), attacked)
        distance = squared.detach().sqrt()
        nearer = done & (distance < norms)
        best = torch.where(rows_like(nearer, start), attacked.detach(), best)
        norms = torch.where(nearer, distance, norms)
        enough |= done & (number >= num_steps // 2)
        optimizer.param_groups[0]["lr"] = step_size * (1 - number / num_steps)
        optimizer.step()
        attacked.clamp_(*bounds)
    return Smallest(best, norms), enough


@without_graph
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
    step_size: float | None = None,
    initial_weight: float = 0.1,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Smallest:
    r"""Return nearby inputs of another class, by minimising distance plus a weighted margin inside the bounds.

    .. math:: \min_{a \le x' \le b} \|x' - x\|_2^2 + c \max(f_y(x') - \max_{i \ne y} f_i(x') + \kappa, 0)

    with Adam, and a binary search for the smallest weight ``c`` of each row that still fools. All rows run together. The
    network's parameters receive no gradient, and callers may be inside ``no_grad`` or ``inference_mode``.

    The bounds are enforced by projection after each step. The source writes :math:`x'` as a tanh, which is flat at the bounds,
    where most pixels of real images lie, so that a row that starts there hardly moves. Every other descent starts where an
    ascent first crosses a boundary instead of at ``x``, to find boundaries that the margin's nearest class hides.

    Args:
        classifier: From inputs, and the timestep if there is one, to logits.
        x: Inputs within ``bounds``, inclusive.
        labels: Their true classes; with ``targeted`` the classes to reach.
        t: Training timestep of each row, for a classifier of noisy inputs.
        targeted: Whether ``labels`` are to be reached.
        confidence: Margin ``kappa`` >= 0 by which the other class must win.
        num_steps: Steps of Adam for each weight, >= 1.
        search_steps: Weights tried, >= 1.
        step_size: Initial rate of Adam, > 0, in units of ``x``; by default a fortieth of the range.
        initial_weight: The first ``c``, > 0; it is multiplied by 10 until a row is fooled, then halved in between.
        bounds: Range ``(a, b)`` that inputs stay in.

    Raises:
        GuideGymError: If a setting is out of range, or ``x`` is not inside the bounds.

    Source:
        Carlini and Wagner 2017, section VI-A; Yang et al. 2021, appendix (norms of GMMC).
    """
    check_count("num_steps", num_steps, least=1)
    check_count("search_steps", search_steps, least=1)
    rate = (bounds[1] - bounds[0]) / 40 if step_size is None else step_size
    check_range("step_size", rate, above=0)
    check_range("initial_weight", initial_weight, above=0)
    check_range("confidence", confidence, least=0)
    check_inside(x, bounds)
    x, labels, t = ordinary(x.detach()), ordinary(labels), None if t is None else ordinary(t)
    reach = (bounds[1] - bounds[0]) * x[0].numel() ** 0.5
    climbed = pgd(
        classifier, x, labels, t=t, radius=reach, num_steps=CLIMB_STEPS, step_size=2 * rate, targeted=targeted,
        early_stop=True, bounds=bounds,
    )  # fmt: skip

    def objective(attacked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = logits_of(classifier, attacked, t)
        squared = (attacked - x).flatten(1).square().sum(dim=1)
        behind = margin(logits, labels) * (1 if targeted else -1)
        missing = (behind + confidence).clamp_min(0.0)
        return squared, missing, fooled(logits, labels, targeted) & (missing <= 0)

    best = Smallest(x.clone(), torch.full((len(x),), torch.inf, device=x.device, dtype=x.dtype))
    low, high = torch.zeros_like(best.norms), torch.full_like(best.norms, torch.inf)
    weight = torch.full_like(best.norms, initial_weight)
    for number in range(search_steps):
        start = climbed if number % 2 else x
        found, enough = _descend(objective, start, weight, bounds=bounds, num_steps=num_steps, step_size=rate)
        nearer = found.norms < best.norms
        best = Smallest(
            torch.where(rows_like(nearer, x), found.attacked, best.attacked), found.norms.minimum(best.norms)
        )
        high, low = torch.where(enough, weight.minimum(high), high), torch.where(enough, low, weight.maximum(low))
        weight = torch.where(high.isinf(), weight * 10, (low + high) / 2)
    return best
