"""Schedules: how strong the guide is at each step of the chain.

A schedule is a function of the training timestep, never of the position in a particular sub-sequence: evaluated over 10,
50 or 250 steps it traces the same curve. The convention for "no guidance" is weight 0.
"""

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.errors import GuideGymError


@runtime_checkable
class Schedule(Protocol):
    """A weight curve over the chain."""

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        ...


def _check_finite(schedule: object) -> None:
    """Refuse a parameter that is not a finite number."""
    for field in fields(schedule):  # type: ignore[arg-type]
        value = getattr(schedule, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise GuideGymError(f"`{field.name}` must be a finite number, got {value!r}")


def _check_at_least_zero(name: str, value: float) -> None:
    if value < 0:
        raise GuideGymError(f"`{name}` must be >= 0, got {value}")


@dataclass(frozen=True)
class Constant:
    """The same weight at every step.

    Args:
        value: The weight, any finite number; 0 is no guidance.
    """

    value: float

    def __post_init__(self) -> None:
        _check_finite(self)

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        return torch.full(t.shape, self.value, dtype=torch.float64, device=t.device)


@dataclass(frozen=True)
class Linear:
    r"""A straight line over the fraction of the chain.

    .. math:: w(u) = \text{start} + (\text{end} - \text{start})\, u, \quad u = 1 - t / (T - 1)

    Args:
        start: Weight at the noisy end, ``u = 0``.
        end: Weight at the clean end, ``u = 1``.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_finite(self)

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        fraction = 1 - t.double() / max(process.num_timesteps - 1, 1)
        return self.start + (self.end - self.start) * fraction


@dataclass(frozen=True)
class Power:
    r"""A power of the noise level's variance, strong at high noise.

    .. math:: w(t) = s\, (1 - \bar\alpha_t)^p

    Args:
        scale: The weight ``s`` at pure noise.
        power: The exponent ``p`` >= 0: 0.5 is the standard, 2 and 8 were used to end the guidance earlier; 0 is constant.

    Source:
        Wang 2024, section 4.7.
    """

    scale: float
    power: float

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_at_least_zero("power", self.power)

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        return self.scale * process.sigma(t, torch.float64).pow(2 * self.power)


@dataclass(frozen=True)
class Sigmoid:
    r"""A sigmoid over training timesteps with a floor.

    .. math:: w(t) = s \left( \frac{1 - y_0}{1 + e^{-k (t - t_0)}} + y_0 \right)

    Args:
        scale: The weight ``s`` at the upper end of the curve.
        y0: Share of ``scale`` at the lower end of the curve, usually in [0, 1]; 1 is a constant.
        t0: Midpoint in training timesteps, on the scale 0..1000 whatever the process' length.
        k: Steepness in 1 / timestep; > 0 is strong at high noise, < 0 at low noise, 0 is constant.

    Source:
        Wang 2024, eq. 4.4.
    """

    scale: float
    y0: float
    t0: float
    k: float

    def __post_init__(self) -> None:
        _check_finite(self)

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        position = t.double() * (1000 / process.num_timesteps)
        return self.scale * ((1 - self.y0) * torch.sigmoid(self.k * (position - self.t0)) + self.y0)


@dataclass(frozen=True)
class Table:
    """Weights at given timesteps, linear between them and level beyond them: any curve, such as a distilled policy.

    Args:
        timesteps: Training timesteps, descending, on the scale 0..1000 whatever the process' length.
        weights: The weight at each of them.

    Raises:
        GuideGymError: If there are none, not as many of both, one is not finite, or the timesteps do not descend.
    """

    timesteps: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.timesteps or len(self.timesteps) != len(self.weights):
            raise GuideGymError(
                f"`timesteps` and `weights` must be as long, and not empty, got {len(self.timesteps)}, {len(self.weights)}"
            )
        for name, numbers in (("timesteps", self.timesteps), ("weights", self.weights)):
            wrong = [number for number in numbers if not math.isfinite(number)]
            if wrong:
                raise GuideGymError(f"`{name}` must be a finite number each, got {wrong[0]}")
        if any(after >= before for before, after in pairwise(self.timesteps)):
            raise GuideGymError("`timesteps` must descend")

    def __call__(self, t: Int[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at training timesteps ``t``."""
        position = t.double() * (1000 / process.num_timesteps)
        knots = torch.tensor(self.timesteps[::-1], dtype=torch.float64, device=t.device)
        values = torch.tensor(self.weights[::-1], dtype=torch.float64, device=t.device)
        if len(knots) == 1:
            return values.expand(len(t)).clone()
        right = torch.searchsorted(knots, position.contiguous()).clamp(1, len(knots) - 1)
        share = ((position - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
        return torch.lerp(values[right - 1], values[right], share)


SCHEDULES: dict[str, type[Constant | Linear | Power | Sigmoid | Table]] = {
    "constant": Constant,
    "linear": Linear,
    "power": Power,
    "sigmoid": Sigmoid,
    "table": Table,
}
"""Every schedule by the name it has in a guidance file."""
