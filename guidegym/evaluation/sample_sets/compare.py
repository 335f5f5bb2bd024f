"""Methods beside each other: differences on the same rows, and whether they could be chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from guidegym.evaluation.sample_sets.metrics import Measured
from guidegym.metrics.resampling import Estimate, recentred


@dataclass(frozen=True)
class Difference:
    """How much larger a number is than another method's on the same rows.

    Args:
        estimate: The difference with its 95 % interval.
        p_value: Two-sided, of no difference; NaN where one of the two methods has failed samples.
    """

    estimate: Estimate
    p_value: float


def difference(one: Measured, other: Measured) -> Difference:
    r"""Compare two methods that were resampled alike.

    Row ``i`` of both has the same noise and class, and both are resampled by the same draws: what they share drops out of
    the difference. The test is the normal one, :math:`p = \mathrm{erfc}(|d| / (\sqrt2\, \mathrm{sd}_b(d_b)))`, with the
    standard deviation of the resampled differences.
    """
    value, draws = one.value - other.value, one.draws - other.draws
    if not (math.isfinite(value) and bool(draws.isfinite().all())):
        return Difference(Estimate(value, -math.inf, math.inf), math.nan)
    spread = float(draws.std())
    if spread == 0:
        return Difference(Estimate(value, value, value), float(value == 0))
    return Difference(recentred(value, draws), math.erfc(abs(value) / spread / math.sqrt(2)))


def compared(one: Mapping[str, Measured], other: Mapping[str, Measured]) -> dict[str, Difference]:
    """Compare all numbers that two methods share."""
    return {name: difference(one[name], other[name]) for name in one if name in other}
