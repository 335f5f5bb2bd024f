"""The table at the end of a search: as rows of texts, and for JSON."""

import math
from typing import Any

from guidegym.metrics.resampling import Estimate
from guidegym.search.confirm import Confirmed

HEADINGS = ("method", "KID", "behind best", "Frechet distance", "accuracy", "cost")


def table_rows(confirmed: list[Confirmed]) -> list[tuple[str, ...]]:
    """Return one row of texts a method; cost is in network evaluations a sample, forward and backward."""
    return [
        (
            one.name + (f" ({one.measured.num_failed} failed)" if one.measured.num_failed else ""),
            one.kid.text(),
            "" if one is confirmed[0] else one.excess.text(),
            one.frechet.text(),
            one.accuracy.text(100) + " %",
            f"{one.measured.cost_per_sample:.0f}",
        )
        for one in confirmed
    ]


def table_json(confirmed: list[Confirmed]) -> list[dict[str, Any]]:
    """Return one JSON-able object a method."""

    def estimate(one: Estimate) -> dict[str, float | None]:
        # JSON has no infinity: a distance that cannot be measured is null.
        ends = {"value": one.value, "low": one.low, "high": one.high}
        return {name: end if math.isfinite(end) else None for name, end in ends.items()}

    return [
        {
            "method": one.name,
            "sampler": repr(one.measured.candidate.sampler),
            "kid": estimate(one.kid),
            "behind_best_by": estimate(one.excess),
            "frechet_distance": estimate(one.frechet),
            "accuracy": estimate(one.accuracy),
            "network_evaluations_per_sample": one.measured.cost_per_sample,
            "failed_samples": one.measured.num_failed,
        }
        for one in confirmed
    ]
