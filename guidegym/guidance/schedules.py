"""Schedules: the strength of guidance at each step of the chain.

A schedule is a function of the training timestep, never of the position in a particular sub-sequence: evaluated over 10,
50 or 250 steps it traces the same curve. The convention for "no guidance" is weight 0.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion import Process, noise_share
from guidegym.errors import GuideGymError
from guidegym.registry import contract, register
from guidegym.support.settings import plain_fields

MAX_EXPONENT = 50.0
"""Bound on the rate of an exponential: beyond it the weight vanishes at one end."""


@contract("schedule")
@runtime_checkable
class Schedule(Protocol):
    """A weight curve over the chain."""

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        ...


def _check_at_least_zero(name: str, value: float) -> None:
    if value < 0:
        raise GuideGymError(f"`{name}` must be >= 0, got {value}")


@register("schedule", "constant")
@dataclass(frozen=True)
class Constant:
    """The same weight at every step.

    Args:
        value: The weight, any finite number; 0 is no guidance.
    """

    value: float

    def __post_init__(self) -> None:
        plain_fields(self)

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        return torch.full(t.shape, self.value, dtype=torch.float64, device=t.device)


@register("schedule", "linear")
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
        plain_fields(self)

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        return self.start + (self.end - self.start) * process.fraction(t)


@register("schedule", "power")
@dataclass(frozen=True)
class Power:
    r"""A power of the noise level's variance, strong at high noise.

    .. math:: w(t) = s\, (1 - \bar\alpha_t)^p

    Under processes other than VP, :math:`1 - \bar\alpha_t` is the share of noise, ``guidegym.diffusion.noise_share``.

    Args:
        scale: The weight ``s`` at pure noise.
        power: The exponent ``p`` >= 0; 0 is constant.

    Source:
        Wang 2024, section 4.7, whose exponents are those of the whole factor on the gradient, including the
        :math:`\sigma_t` of the guided noise: its 0.5 (the standard), 2 and 8 are 0, 1.5 and 7.5 here.
    """

    scale: float
    power: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_at_least_zero("power", self.power)

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        return self.scale * noise_share(process, t).pow(self.power)


@register("schedule", "sigmoid")
@dataclass(frozen=True)
class Sigmoid:
    r"""A sigmoid over training timesteps with a floor.

    .. math:: w(t) = s \left( \frac{1 - y_0}{1 + e^{-k (t - t_0)}} + y_0 \right)

    Args:
        scale: The weight ``s`` at the upper end of the curve.
        y0: Share of ``scale`` at the lower end of the curve, usually in [0, 1]; 1 is a constant.
        t0: Midpoint in training timesteps, on the scale 0..1000 whatever the length of the process.
        k: Steepness in 1 / timestep; > 0 is strong at high noise, < 0 at low noise, 0 is constant.

    Source:
        Wang 2024, eq. 4.4.
    """

    scale: float
    y0: float
    t0: float
    k: float

    def __post_init__(self) -> None:
        plain_fields(self)

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        position = process.position(t)
        return self.scale * ((1 - self.y0) * torch.sigmoid(self.k * (position - self.t0)) + self.y0)


@register("schedule", "cosine")
@dataclass(frozen=True)
class Cosine:
    r"""Half a cosine wave over the fraction of the chain: flat at both ends.

    .. math:: w(u) = \text{end} + (\text{start} - \text{end}) \frac{1 + \cos(\pi u)}{2}, \quad u = 1 - t / (T - 1)

    Args:
        start: Weight at the noisy end, ``u = 0``.
        end: Weight at the clean end, ``u = 1``.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        plain_fields(self)

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        return self.end + (self.start - self.end) * (1 + torch.cos(math.pi * process.fraction(t))) / 2


@register("schedule", "exponential")
@dataclass(frozen=True)
class Exponential:
    r"""Exponential decay or growth over the fraction of the chain.

    .. math:: w(u) = s\, e^{-r u}, \quad u = 1 - t / (T - 1)

    Args:
        scale: The weight ``s`` at the noisy end, ``u = 0``.
        rate: The rate ``r``: at the clean end the weight is :math:`s\, e^{-r}`; < 0 grows.
    """

    scale: float
    rate: float

    def __post_init__(self) -> None:
        plain_fields(self)
        if abs(self.rate) > MAX_EXPONENT:
            raise GuideGymError(f"`rate` must be in [-{MAX_EXPONENT:g}, {MAX_EXPONENT:g}], got {self.rate}")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        return self.scale * torch.exp(-self.rate * process.fraction(t))
