"""Measured numbers with their resamples, and paired differences, in which shared variation cancels."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.metrics.resampling import Estimate, interval_around, recentred

Interval = Callable[[float, Float[Tensor, " resamples"]], Estimate]
"""``(number, its resamples) -> the number with its interval``."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One number of one method, with its bootstrap resamples.

    Args:
        value: The number; infinite or NaN if a sample failed.
        draws: The number on each resample, before recentring; all methods of a run share the same resampling of rows.
        estimate: The number with its interval.
    """

    value: float
    draws: Float[Tensor, " resamples"]
    estimate: Estimate

    @classmethod
    def constant(cls, value: float, *, resamples: int) -> "Measurement":
        """Return a number that is the same on all resamples."""
        draws = torch.full((resamples,), value, dtype=torch.float64)
        return cls(value, draws, Estimate(value, value, value))

    @classmethod
    def mean(cls, rows: Shaped[Tensor, " n"], weights: Float[Tensor, " resamples n"]) -> "Measurement":
        """Return the mean over rows of a number or boolean; ``weights`` are the draws of each row in each resample."""
        values = rows.double()
        value, draws = float(values.mean()), weights @ values / weights.sum(dim=1)
        return cls(value, draws, interval_around(value, draws))


@dataclass(frozen=True)
class Delta:
    """The difference of a number from another method's on the same rows.

    Args:
        estimate: The difference with its 95 % interval.
        p_value: Two-sided p-value of no difference; NaN if one of the methods has failed samples.
    """

    estimate: Estimate
    p_value: float

    def to_json(self) -> dict[str, float | None]:
        """Return its numbers, with None for non-finite ones."""
        return {**self.estimate.to_json(), "p_value": self.p_value if math.isfinite(self.p_value) else None}


def delta(one: Measurement, other: Measurement, *, interval: Interval = recentred) -> Delta:
    r"""Compare two methods with the same resampling.

    Row ``i`` of both has the same noise and class, and both are resampled by the same draws: shared variation
    cancels in the difference, ``one`` less ``other``. The test is the normal one,
    :math:`p = \mathrm{erfc}(|d| / (\sqrt2\, \mathrm{sd}_b(d_b)))`, with the standard deviation of the resampled differences.
    """
    value, draws = one.value - other.value, one.draws - other.draws
    if not (math.isfinite(value) and bool(draws.isfinite().all())):
        return Delta(Estimate(value, -math.inf, math.inf), math.nan)
    spread = float(draws.std())
    if spread == 0:
        return Delta(Estimate(value, value, value), float(value == 0))
    return Delta(interval(value, draws), math.erfc(abs(value) / spread / math.sqrt(2)))


def deltas(one: Mapping[str, Measurement], other: Mapping[str, Measurement]) -> dict[str, Delta]:
    """Compare all metrics that two methods share."""
    return {name: delta(one[name], other[name]) for name in one if name in other}
