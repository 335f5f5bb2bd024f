"""The page of an evaluation."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from guidegym.evaluation.measuring.measurement import Delta
from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.sample_sets.results import Result
from guidegym.evaluation.sample_sets.table import legend, table_rows
from guidegym.report.page import note, page, picture, sample_grids, table


def build_page(
    title: str,
    results: Sequence[Result],
    *,
    about: Mapping[str, Any],
    notes: Sequence[str],
    grids: Mapping[str, bytes],
    curves: bytes | None,
) -> str:
    """Return a self-contained page: the table, the differences from the first, curves, and the samples side by side."""
    heads, rows = table_rows(results)
    parts = [table(heads, rows), note(legend(results)), *map(note, notes)]
    if any(result.deltas for result in results):
        parts += [f"<h2>Differences from {html.escape(results[0].name)}</h2>", _differences(results)]
    if curves is not None:
        parts += ["<h2>Against the weight</h2>", f"<p>{picture('curves', curves)}</p>"]
    parts.append(sample_grids(grids))
    parts.append(
        f"<details><summary>How it was measured</summary><pre>{html.escape(json.dumps(about, indent=1))}</pre></details>"
    )
    return page(title, parts)


def _difference(name: str, found: Delta | None) -> str:
    if found is None:
        return ""
    if not math.isfinite(found.p_value):
        return "failed"
    share = METRICS[name].share
    # Two hundred resamples show the spread, not the far tail of a distribution.
    chance = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    return f"{found.estimate.text(100 if share else 1)}{' points' if share else ''}, {chance}"


def _differences(results: Sequence[Result]) -> str:
    compared = [result for result in results if result.deltas]
    names = [name for name in METRICS if any(name in result.deltas for result in compared)]
    rows = [
        [METRICS[name].title, *(_difference(name, result.deltas.get(name)) for result in compared)] for name in names
    ]
    return table(["", *(result.name for result in compared)], rows)
