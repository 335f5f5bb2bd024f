"""The page of results: one table over all claims, and a section on each."""

from collections.abc import Mapping, Sequence
from typing import Any

from guidegym.evaluation.sample_sets.metrics import METRICS
from guidegym.metrics.resampling import Estimate
from guidegym.tables import markdown_table

COLUMNS = ("frechet", "intra_kid", "recall", "accuracy", "robustness")
"""Metrics that the page shows of each method; the records have more."""


def _effect(record: Mapping[str, Any]) -> str:
    return Estimate(**record["effect"]).text()


def overview(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table over all claims, in Markdown."""
    rows = [
        [
            f"[{record['claim']}](#{record['claim']})",
            f"{record['paper']}, {record['place']}",
            f"**{record['verdict']}**",
            _effect(record),
            str(record["samples"]),
        ]
        for record in records
    ]
    return markdown_table(["claim", "source", "verdict", "effect, 95 % interval", "samples a method"], rows)


def _cell(method: Mapping[str, Any], name: str) -> str:
    if name not in method["metrics"]:
        return ""
    share = METRICS[name].share
    return Estimate(**method["metrics"][name]).text(100 if share else 1) + (" %" if share else "")


def section(record: Mapping[str, Any], pictures: str) -> str:
    """Return the section on one claim, in Markdown; ``pictures`` is the way from the page to their folder."""
    lines = [
        f"### {record['claim']}\n",
        f"{record['says']} ({record['paper']}, {record['place']})\n",
        f"*Effect*: {record['effect_is']}. *Rule*: {record['rule']}.\n",
        f"**{record['verdict']}**: {_effect(record)}; {record['samples']} samples a method, weights chosen on "
        f"{record['tuning_samples']} others, {record['network_evaluations'] / 1e6:.2g} million network evaluations, "
        f"{record['seconds']:.0f} s; {record['date']}, commit {record['commit']}.\n",
    ]
    if record["methods"]:
        heads = ["method", *(METRICS[name].title for name in COLUMNS), "evaluations"]
        rows = [
            [method["method"], *(_cell(method, name) for name in COLUMNS), f"{method['evaluations_per_sample']:.0f}"]
            for method in record["methods"]
        ]
        lines.append(markdown_table(heads, rows))
    lines.append(f"![samples]({pictures}{record['claim']}.png)\n")
    return "\n".join(lines)


def results_page(records: Sequence[Mapping[str, Any]], pictures: str = "") -> str:
    """Return the page: the overview, then each claim; ``pictures`` is the way from the page to their folder, with its slash."""
    if not records:
        return "# Results\n\nNo claim was tested.\n"
    testbed = records[0]["testbed"]
    return "\n".join(
        [f"# Results on {testbed}\n", overview(records), *(section(record, pictures) for record in records)]
    )
