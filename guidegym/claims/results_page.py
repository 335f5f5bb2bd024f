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


def _by_claim(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the records of each claim, one per testbed."""
    claims = dict.fromkeys(str(record["claim"]) for record in records)
    return {name: [record for record in records if record["claim"] == name] for name in claims}


def _testbeds(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(record["testbed"]) for record in records))


def overview(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table over all claims, the testbeds side by side, in Markdown."""
    testbeds, rows = _testbeds(records), []
    for name, own in _by_claim(records).items():
        found = {
            record["testbed"]: f"**{record['verdict']}**, {effect_text(record)}, {record['samples']}" for record in own
        }
        cells = [found.get(testbed, "") for testbed in testbeds]
        rows.append([f"[{name}](#{name})", f"{own[0]['paper']}, {own[0]['place']}", *cells])
    heads = [f"{testbed}: verdict, effect, samples per method" for testbed in testbeds]
    return markdown_table(["claim", "source", *heads], rows)


def _cell(method: Mapping[str, Any], name: str) -> str:
    if name not in method["metrics"]:
        return ""
    return number_of(name, Estimate.from_json(method["metrics"][name], worst=METRICS[name].worst))


def _cost(record: Mapping[str, Any]) -> str:
    """Return the cost of a verdict, including the choice of weights."""
    took = f"{record['samples']} samples per method; {record['seconds']:.0f} s"
    evaluations = record["network_evaluations"]
    return f"{took}, {evaluations:,} network evaluations" if evaluations else took


def section(records: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> str:
    """Return the section on one claim, one record per testbed, in Markdown."""
    first = records[0]
    lines = [
        f"### {first['claim']}\n",
        f"{first['says']} ({first['paper']}, {first['place']})\n",
        f"*Effect*: {first['effect_is']}. *Rule*: {first['rule']}.\n",
    ]
    for record in records:
        lines += _tested(record, pictures.get(record["testbed"], ""))
    return "\n".join(lines)


def _tested(record: Mapping[str, Any], pictures: str) -> list[str]:
    """Return what came out on one testbed, as lines of Markdown."""
    said = f"{effect_text(record)}; {_cost(record)}; {record['date']}, commit {record['commit']}"
    lines = [f"**{record['verdict']}** on `{record['testbed']}`: {said}.\n"]
    if record["notes"]:
        lines.append(f"*Note*: {'; '.join(record['notes'])}.\n")
    if record["methods"]:
        columns = [name for name in METRICS if name in COLUMNS or name in record["measured_in"]]
        heads = ["method", *(METRICS[name].title for name in columns), "evaluations"]
        rows = []
        for method in record["methods"]:
            numbers = [*(_cell(method, name) for name in columns), f"{method['evaluations_per_sample']:.0f}"]
            rows.append([as_markdown(method["method"]), *numbers])
        lines.append(markdown_table(heads, rows))
    if record["pictured"]:
        lines.append(f"![samples on {record['testbed']}]({pictures}{record['claim']}.png)\n")
    return lines


def results_page(records: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> str:
    """Return the page: the overview, then each claim, with testbeds side by side in the order in which they come first.

    ``pictures`` has the path from the page to a testbed's pictures, with its slash; by default they lie beside the page.
    """
    return "\n".join(
        [
            f"# Results on {' and '.join(_testbeds(records))}\n",
            INTRODUCTION,
            overview(records),
            *(section(own, pictures) for own in _by_claim(records).values()),
        ]
    )
