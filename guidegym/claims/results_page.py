"""The page of results: one table over all claims, and a section per claim."""

from collections.abc import Mapping, Sequence
from typing import Any

from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.sample_sets.table import number_of
from guidegym.metrics.resampling import Estimate
from guidegym.report.tables import as_markdown, markdown_table

INTRODUCTION = """\
What the source papers claim, tested by `python -m guidegym.reproduce`. Each rule was written before the run whose verdict stands
here; weights were chosen on other seeds than those of the verdict; brackets are 95 % bootstrap intervals. Frechet and kernel
distances and the energy divergence are better when lower, all other numbers when higher.
"""
COLUMNS = ("frechet", "intra_kid", "recall", "accuracy", "robustness")
"""Metrics that the page shows for each method, besides those of the effect; the records contain more."""


def effect_text(record: Mapping[str, Any]) -> str:
    """Return the effect of a record with its interval, or that a method of the effect failed."""
    effect = record["effect"]
    return "no number: a method failed" if None in effect.values() else Estimate(**effect).text()


def overview(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table over all claims, in Markdown."""
    rows = [
        [
            f"[{record['claim']}](#{record['claim']})",
            f"{record['paper']}, {record['place']}",
            f"**{record['verdict']}**",
            effect_text(record),
            str(record["samples"]),
        ]
        for record in records
    ]
    return markdown_table(["claim", "source", "verdict", "effect, 95 % interval", "samples per method"], rows)


def _cell(method: Mapping[str, Any], name: str) -> str:
    if name not in method["metrics"]:
        return ""
    return number_of(name, Estimate.from_json(method["metrics"][name], worst=METRICS[name].worst))


def _cost(record: Mapping[str, Any]) -> str:
    """Return the cost of a verdict, including the choice of weights."""
    took = f"{record['samples']} samples per method; {record['seconds']:.0f} s"
    evaluations = record["network_evaluations"]
    return f"{took}, {evaluations:,} network evaluations" if evaluations else took


def section(record: Mapping[str, Any], pictures: str) -> str:
    """Return the section on one claim, in Markdown; ``pictures`` is the path from the page to their folder."""
    lines = [
        f"### {record['claim']}\n",
        f"{record['says']} ({record['paper']}, {record['place']})\n",
        f"*Effect*: {record['effect_is']}. *Rule*: {record['rule']}.\n",
        f"**{record['verdict']}**: {effect_text(record)}; {_cost(record)}; {record['date']}, commit {record['commit']}.\n",
    ]
    if record["notes"]:
        lines.append(f"*Note*: {'; '.join(record['notes'])}.\n")
    if record["methods"]:
        columns = [name for name in METRICS if name in COLUMNS or name in record["measured_in"]]
        heads = ["method", *(METRICS[name].title for name in columns), "evaluations"]
        rows = [
            [
                as_markdown(method["method"]),
                *(_cell(method, name) for name in columns),
                f"{method['evaluations_per_sample']:.0f}",
            ]
            for method in record["methods"]
        ]
        lines.append(markdown_table(heads, rows))
    if record["pictured"]:
        lines.append(f"![samples]({pictures}{record['claim']}.png)\n")
    return "\n".join(lines)


def results_page(records: Sequence[Mapping[str, Any]], pictures: str = "") -> str:
    """Return the page: the overview, then each claim; ``pictures`` is the path to their folder, with a trailing slash."""
    testbed = records[0]["testbed"]
    return "\n".join(
        [
            f"# Results on {testbed}\n",
            INTRODUCTION,
            overview(records),
            *(section(record, pictures) for record in records),
        ]
    )
