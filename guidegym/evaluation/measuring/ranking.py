"""Methods ranked by one metric, with their paired differences from the best, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from guidegym.evaluation.measuring.measurement import Delta, Measurement, delta
from guidegym.metrics.resampling import Estimate, interval_around

Of = TypeVar("Of")
NOTHING = Delta(Estimate(0.0, 0.0, 0.0), 1.0)
"""The difference of the best from itself."""


@dataclass(frozen=True)
class Column:
    """One number in a table of ranked methods.

    Args:
        name: Its key in JSON.
        title: Its heading.
        share: Whether it is a share, shown in percent.
    """

    name: str
    title: str
    share: bool = False

    def text(self, estimate: Estimate) -> str:
        """Return an estimate as formatted in the table."""
        return estimate.text(100) + " %" if self.share else estimate.text()


@dataclass(frozen=True, eq=False)
class Standing(Generic[Of]):
    """One of several methods measured on the same rows.

    Args:
        of: The measured object.
        name: Its name in tables.
        numbers: Its numbers by name.
        evaluations: Network evaluations per sample, forward and backward.
        failed: Number of its failed samples.
        sound: Whether its numbers are meaningful; unsound methods come last.
        delta_to_best: How much worse than the best method it is in the ranking metric.
    """

    of: Of
    name: str
    numbers: Mapping[str, Measurement]
    evaluations: float
    failed: int = 0
    sound: bool = True
    delta_to_best: Delta = NOTHING


def rank(measured: Sequence[Standing[Of]], *, by: str, lower_is_better: bool) -> list[Standing[Of]]:
    """Return methods with their paired differences from the best, best first and unsound ones last."""
    sign = 1.0 if lower_is_better else -1.0
    ordered = sorted(measured, key=lambda one: (not one.sound, sign * one.numbers[by].value))
    best = ordered[0].numbers[by]

    def behind(own: Measurement) -> Delta:
        worse, better = (own, best) if lower_is_better else (best, own)
        return delta(worse, better, interval=interval_around)

    return [replace(one, delta_to_best=behind(one.numbers[by])) for one in ordered]


def headings(columns: Sequence[Column]) -> list[str]:
    """Return the headings of a table of ranked methods."""
    first, *others = [column.title for column in columns]
    return ["method", first, "delta to best", *others, "cost"]


def ranked_rows(ranked: Sequence[Standing[Of]], columns: Sequence[Column]) -> list[list[str]]:
    """Return one row of texts per method; cost is in network evaluations per sample, forward and backward."""
    rows = []
    for one in ranked:
        first, *others = [column.text(one.numbers[column.name].estimate) for column in columns]
        name = one.name + (f" ({one.failed} failed)" if one.failed else "")
        apart = "" if one is ranked[0] else one.delta_to_best.estimate.text()
        rows.append([name, first, apart, *others, f"{one.evaluations:.0f}"])
    return rows


def ranked_json(ranked: Sequence[Standing[Of]], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return one JSON-serialisable object per method."""
    return [
        {
            "method": one.name,
            **{column.name: one.numbers[column.name].estimate.to_json() for column in columns},
            "delta_to_best": one.delta_to_best.to_json(),
            "network_evaluations_per_sample": one.evaluations,
            "failed_samples": one.failed,
        }
        for one in ranked
    ]


def delta_to_best(method: Mapping[str, Any]) -> Estimate:
    """Return the difference of a record's method from the best, under the record's current or former key."""
    spellings = ("delta_to_best", "behind_best_by", "behind_best")
    return Estimate.from_json(next(method[name] for name in spellings if name in method))
