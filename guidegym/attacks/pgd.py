"""Projected gradient descent: the worst input within a distance of a given one."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from guidegym.diffusion import rows_like
from guidegym.errors import GuideGymError
from guidegym.support.autograd import input_gradient, ordinary, without_graph
from guidegym.support.settings import check_count

Norm = Literal["l2", "linf"]
Attacked = Callable[..., Tensor]
"""A classifier: ``classifier(x, t)`` returns logits, ``(batch, classes)``; without a time it is called as ``classifier(x)``."""


def row_norms(delta: Float[Tensor, " batch *event"], norm: Norm) -> Float[Tensor, " batch"]:
    """Return the L2 norm or the largest absolute value of each row."""
    flat = delta.flatten(1)
    lengths: Tensor = flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1)
    return lengths


def project(delta: Float[Tensor, " batch *event"], radius: float, norm: Norm) -> Float[Tensor, " batch *event"]:
    """Bring each row of ``delta`` back into the ball of ``radius``: by shrinking (L2) or by clipping (Linf)."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    return delta * rows_like((radius / row_norms(delta, "l2").clamp_min(1e-12)).clamp(max=1.0), delta)


def logits_of(classifier: Attacked, x: Tensor, t: Tensor | None) -> Tensor:
    """Return the logits of ``x``, at the timestep if there is one."""
    logits: Tensor = classifier(x) if t is None else classifier(x, t)
    return logits


def fooled(
    logits: Float[Tensor, " batch classes"], labels: Int[Tensor, " batch"], targeted: bool
) -> Bool[Tensor, " batch"]:
    """Return which rows are fooled: at their target class, or at any but their own class."""
    return (logits.argmax(dim=1) == labels) == targeted


def margin(logits: Float[Tensor, " batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return by how much the largest other logit exceeds that of the row's class."""
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return others - logits.gather(1, labels[:, None])[:, 0]


def _random_start(
    x: Float[Tensor, " batch *event"], radius: float, norm: Norm, generator: torch.Generator
) -> Float[Tensor, " batch *event"]:
    """Return a start inside the ball: uniform in the Linf ball; in L2 a uniform direction and a uniform length."""
    if norm == "linf":
        return (2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1) * radius
    direction = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    lengths = radius * torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
    return direction * rows_like(lengths / row_norms(direction, "l2").clamp_min(1e-12), x)


def check_inside(x: Float[Tensor, " batch *event"], bounds: tuple[float, float] | None) -> None:
    """Reject inputs outside the bounds: clamping could move them out of the ball.

    Raises:
        GuideGymError: If one is outside by more than rounding.
    """
    if bounds is None or not len(x):
        return
    low, high, slack = float(x.min()), float(x.max()), 1e-5 * (bounds[1] - bounds[0])
    if not (low >= bounds[0] - slack and high <= bounds[1] + slack):
        raise GuideGymError(
            f"`x` must lie inside `bounds` {bounds[0]:g} .. {bounds[1]:g}, got {low:.4g} .. {high:.4g}; "
            "noisy inputs have none: give `bounds=None`"
        )


def _uphill(
    classifier: Attacked, here: Tensor, labels: Tensor, t: Tensor | None, *, targeted: bool
) -> tuple[Tensor, Tensor]:
    """Return each row's gradient towards a larger cross-entropy, and the logits.

    If the row's own class has probability 1 up to rounding, the cross-entropy is 0 and has no gradient; the gradient is then
    that of the margin to the next class, which the cross-entropy approaches.
    """
    sign = -1.0 if targeted else 1.0
    with torch.enable_grad():
        here = here.requires_grad_(True)
        logits = logits_of(classifier, here, t)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        saturated = (losses == 0).nonzero()[:, 0]
        gradient = input_gradient(losses.sum(), here, network=classifier, retain_graph=bool(len(saturated)))
        if len(saturated):
            ahead = margin(logits[saturated], labels[saturated]).sum()
            gradient = gradient.clone()
            gradient[saturated] = input_gradient(ahead, here, network=classifier)[saturated]
    return sign * gradient, logits.detach()


def _check(radius: float, num_steps: int, norm: str, step_size: float | None, restarts: int) -> None:
    if norm not in ("l2", "linf"):
        raise GuideGymError(f"`norm` must be 'l2' or 'linf', got {norm!r}")
    if not (radius >= 0 and radius < float("inf")):
        raise GuideGymError(f"`radius` must be finite and >= 0, got {radius}")
    if step_size is not None and not (step_size > 0 and step_size < float("inf")):
        raise GuideGymError(f"`step_size` must be finite and > 0, got {step_size}")
    check_count("num_steps", num_steps, least=1)
    check_count("restarts", restarts, least=1)


@without_graph
def pgd(
    classifier: Attacked,
    x: Float[Tensor, " batch *event"],
    labels: Int[Tensor, " batch"],
    *,
    radius: float,
    num_steps: int,
    t: Float[Tensor, " batch"] | None = None,
    norm: Norm = "l2",
    step_size: float | None = None,
    targeted: bool = False,
    early_stop: bool = False,
    restarts: int = 1,
    bounds: tuple[float, float] | None = (-1.0, 1.0),
    generator: torch.Generator | None = None,
) -> Float[Tensor, " batch *event"]:
    r"""Return inputs within a distance that raise the cross-entropy, by projected gradient ascent.

    .. math:: \delta \leftarrow \Pi_{\|\delta\| \le r}\left(\delta + \eta \frac{g}{\|g\|_2}\right) \quad (L_2), \qquad
              \delta \leftarrow \Pi_{\|\delta\|_\infty \le r}(\delta + \eta\, \mathrm{sign}\, g) \quad (L_\infty)

    The network's parameters receive no gradient, callers may be inside ``no_grad`` or ``inference_mode``, and all runs on the
    device of ``x``. If logits are so large that the cross-entropy is 0 up to rounding, the ascent is on the margin to the
    next class instead.

    Args:
        classifier: From inputs, and the timestep if there is one, to logits.
        x: Inputs to start near: clean ones inside ``bounds``, or noisy ones with their ``t``.
        labels: Their true classes, to move away from; with ``targeted`` the classes to reach.
        radius: Radius ``r`` >= 0 of the ball around ``x``, in the units of ``x``.
        num_steps: Number ``n`` of steps, >= 1.
        t: Training timestep of each row, for a classifier of noisy inputs.
        norm: The ball: ``l2`` or ``linf``.
        step_size: Length ``eta`` of a step; by default ``2.5 r / n``.
        targeted: Whether ``labels`` are to be reached.
        early_stop: Whether a row stops where it is first fooled, as in training on noisy inputs; this is also cheaper.
        restarts: Number of starts; for each row the result with the largest loss is kept. More than one needs a generator.
        bounds: Range that inputs stay in; None for noisy ones, which have no bounds.
        generator: Generator of random starts inside the ball; without it the start is ``x``.

    Raises:
        GuideGymError: If a setting is out of range, ``x`` is not inside the bounds, or the classifier's logits are not finite.

    Source:
        Madry et al. 2018; time, early stopping and the default step of Kawar et al. 2022, eq. 5, section 5.1, appendix E.
    """
    _check(radius, num_steps, norm, step_size, restarts)
    check_inside(x, bounds)
    if restarts > 1 and generator is None:
        raise GuideGymError(f"{restarts} restarts from the same start are identical: give a `generator`")
    length = 2.5 * radius / num_steps if step_size is None else step_size
    x, labels, t = ordinary(x.detach()), ordinary(labels), None if t is None else ordinary(t)

    def ascend(attacked: Tensor) -> Tensor:
        rows = torch.arange(len(x), device=x.device)  # fooled ones that may stop early are no longer computed
        for _ in range(num_steps):
            here, at = attacked[rows], None if t is None else t[rows]
            gradient, logits = _uphill(classifier, here, labels[rows], at, targeted=targeted)
            if early_stop:
                going = ~fooled(logits, labels[rows], targeted)
                rows, here, gradient = rows[going], here[going], gradient[going]
                if not len(rows):
                    break
            step = gradient.sign() if norm == "linf" else functional.normalize(gradient.flatten(1)).view_as(gradient)
            moved = x[rows] + project(here.detach() - x[rows] + length * step, radius, norm)
            attacked[rows] = moved if bounds is None else moved.clamp(*bounds)
        return attacked

    best, worst = x.clone(), torch.full((len(x),), -torch.inf, device=x.device, dtype=x.dtype)
    for _ in range(restarts):
        start = x.clone()
        if generator is not None:
            start = start + _random_start(x, radius, norm, generator)
            start = start if bounds is None else start.clamp(*bounds)
        attacked = ascend(start)
        if not bool(attacked.isfinite().all()):
            raise GuideGymError(
                "the classifier's logits or their gradients are not finite: gradient ascent is impossible"
            )
        if restarts == 1:
            return attacked
        loss = functional.cross_entropy(logits_of(classifier, attacked, t), labels, reduction="none")
        loss = -loss if targeted else loss
        better = loss > worst
        best, worst = torch.where(rows_like(better, x), attacked, best), torch.where(better, loss, worst)
    return best
