"""Schedules that switch: stages and intervals, by fraction of the chain or by noise level."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from guidegym.diffusion import Process, noise_ratio
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import plain_fields


def _chosen(mask: Bool[Tensor, " steps"], inside: float, outside: float) -> Float[Tensor, " steps"]:
    """Return float64, one number where the mask is true and the other elsewhere; ``torch.where`` alone gives float32."""
    values = torch.tensor([outside, inside], dtype=torch.float64, device=mask.device)
    return values[mask.long()]


@register("schedule", "stages")
@dataclass(frozen=True)
class Stages:
    """One weight up to a fraction of the chain, another from there on.

    Args:
        first: Weight before ``switch``; 0 delays guidance.
        second: Weight from ``switch`` on.
        switch: Fraction of the chain, in [0, 1], at which the second weight begins, inclusive.

    Source:
        Wang 2024, section 4.3 (on after 0.2 or 0.3) and section 4.5 (30, then 11).
    """

    first: float
    second: float
    switch: float

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 <= self.switch <= 1:
            raise GuideGymError(f"`switch` must be in [0, 1], got {self.switch}")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        late = process.fraction(t) >= self.switch
        return _chosen(late, self.second, self.first)


@register("schedule", "interval")
@dataclass(frozen=True)
class Interval:
    """One weight within an interval of the chain, another before and after it.

    Args:
        inside: Weight at fractions of the chain ``start <= u < end``, and at the clean end, ``u = 1``, if ``end`` is 1.
        outside: Weight before and after it; with ``inside`` = 0 guidance is switched off within the interval only.
        start: Beginning of the interval, in [0, 1], 0 being the noisy end.
        end: End of the interval, in [``start``, 1].
    """

    inside: float
    outside: float
    start: float
    end: float

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 <= self.start <= self.end <= 1:
            raise GuideGymError(f"`start` and `end` must be 0 <= start <= end <= 1, got {self.start}, {self.end}")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        u = process.fraction(t)
        within = (u >= self.start) & ((u < self.end) | ((u == 1) & (self.end == 1)))
        return _chosen(within, self.inside, self.outside)


@register("schedule", "noise_interval")
@dataclass(frozen=True)
class NoiseInterval:
    r"""One weight within an interval of noise levels, another at higher and lower ones.

    The noise level is :math:`\sigma_t / \sqrt{\bar\alpha_t}`, the noise's standard deviation in units of the data.

    Args:
        inside: Weight at noise levels ``low < level <= high``.
        outside: Weight at all others; with ``inside`` = 0 guidance is switched off within the interval only.
        low: Lower end of the interval, >= 0, exclusive.
        high: Upper end, >= ``low``, inclusive.

    Source:
        Kynkaanniemi et al. 2024, eq. 5.
    """

    inside: float
    outside: float
    low: float
    high: float

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 <= self.low <= self.high:
            raise GuideGymError(f"`low` and `high` must be 0 <= low <= high, got {self.low}, {self.high}")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        level = noise_ratio(process, t)
        return _chosen((level > self.low) & (level <= self.high), self.inside, self.outside)
