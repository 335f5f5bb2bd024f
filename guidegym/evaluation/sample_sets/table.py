"""Results as tables: for the terminal, as CSV, and for a page."""

import math
from collections.abc import Sequence

from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.sample_sets.results import Result
from guidegym.metrics.resampling import Estimate
from guidegym.report.tables import csv_text

SIGNIFICANT = 0.05


def title_of(name: str) -> str:
    """Return a metric's title with its better direction."""
    return f"{METRICS[name].title} {'(lower)' if METRICS[name].lower_is_better else '(higher)'}"


def number_of(name: str, estimate: Estimate) -> str:
    """Return a metric's estimate as formatted in tables: shares in percent."""
    share = METRICS[name].share and math.isfinite(estimate.value)
    return estimate.text(100 if share else 1) + (" %" if share else "")


def _cell(result: Result, name: str) -> str:
    if name not in result.estimates:
        return ""
    found = result.deltas.get(name)
    return number_of(name, result.estimates[name]) + (" *" if found is not None and found.p_value < SIGNIFICANT else "")


def table_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows: one row per metric, one column per method; ``*`` marks differences from the first method.

    The last rows give the cost of the samples: network evaluations per sample, and seconds for a thousand.
    """
    names = [name for name in METRICS if any(name in result.estimates for result in results)]
    rows = [[title_of(name), *(_cell(result, name) for result in results)] for name in names]
    rows.append(["evaluations per sample", *(f"{result.evaluations:.0f}" for result in results)])
    rows.append(["seconds for 1000", *(f"{result.seconds_per_1000:.3g}" for result in results)])
    if any(result.failed for result in results):
        rows.append(["failed samples", *(str(result.failed) for result in results)])
    if any(result.beside for result in results):
        rows.append(["seed", *(str(result.seed) for result in results)])
        rows.append(["sampler", *(result.sampler for result in results)])
    return ["", *(result.name for result in results)], rows


def legend(results: Sequence[Result]) -> str:
    """Return the table's legend: intervals, stars, and results that were not compared."""
    said = "Brackets are 95 % bootstrap intervals."
    if any(result.deltas for result in results):
        said += f" * differs from {results[0].name} on the same seeds (p < {SIGNIFICANT:g})."
    if earlier := [result.name for result in results if result.beside]:
        said += f" Of an earlier run, not compared: {', '.join(earlier)}."
    return said


def csv_table(results: Sequence[Result]) -> str:
    """Return one line per method and metric, with the difference from the first method if there is one."""
    heads = ("method", "metric", "value", "low", "high", "delta_to_first", "delta_low", "delta_high", "p_value")
    lines: list[list[object]] = []
    for result in results:
        for name, estimate in result.estimates.items():
            numbers = [estimate.value, estimate.low, estimate.high]
            if name in result.deltas:
                found = result.deltas[name]
                numbers += [found.estimate.value, found.estimate.low, found.estimate.high, found.p_value]
            lines.append([result.name, name, *(f"{one:.6g}" if math.isfinite(one) else "" for one in numbers)])
        lines += [[result.name, f"{kind}_per_sample", value] for kind, value in result.cost.items()]
        lines.append([result.name, "seconds_per_1000", result.seconds_per_1000])
    return csv_text(heads, [[*line, *[""] * (len(heads) - len(line))] for line in lines])
