"""Print what came out of the shipped studies as the tables of docs/studies.md, or run them first.

    python benchmarks/study_tables.py [--testbed fashion] [--only NAME ...] [--run [--out runs]]

``--run`` runs the studies one after the other, minutes each on a CPU core, and writes the results to
``benchmarks/results/study-NAME-TESTBED.json``; a study that has finished in ``--out`` is not run again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from guidegym.evaluation.measuring.ranking import delta_to_best
from guidegym.registry import names
from guidegym.search.loading import load_study
from guidegym.tune import main as tune

RESULTS = Path(__file__).parent / "results"
SHOWN = 8
"""Rows of a table: the best of them, and no guidance."""


def markdown(name: str, content: dict[str, Any]) -> str:
    """Return a study's section: its description, and the best methods with no guidance as the last row."""
    methods = content["methods"]
    chosen = methods[:SHOWN]
    chosen += [method for method in methods[SHOWN:] if method["method"] == "unguided"]
    lines = [
        f"### {name}",
        "",
        load_study(name).description + ".",
        "",
        "| method | KID | delta to best | accuracy | cost |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method in chosen:
        apart = "" if method is methods[0] else _interval(vars(delta_to_best(method)))
        row = (method["method"], _interval(method["kid"]), apart, _interval(method["accuracy"], 100) + " %")
        lines.append("| " + " | ".join(row) + f" | {method['network_evaluations_per_sample']:.0f} |")
    kept = {key: value for key, value in content["best_guidance"].items() if key != "format"}
    return "\n".join([*lines, "", f"The best is `{json.dumps(kept)}`."]) + "\n"


def _interval(given: dict[str, float], scale: float = 1.0) -> str:
    value, low, high = (f"{scale * given[key]:.3g}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--testbed", default="fashion")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--only", nargs="+", default=names("study"), choices=names("study"))
    parser.add_argument("--run", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.only:
        record = RESULTS / f"study-{name}-{arguments.testbed}.json"
        if arguments.run:
            folder = arguments.out / f"{name}-{arguments.testbed}"
            code = tune(["--study", name, "--testbed", arguments.testbed, "--out", str(folder)])
            if code:
                return code
            content = json.loads((folder / "results.json").read_text())
            content["best_guidance"] = json.loads((folder / "best.json").read_text())
            record.write_text(json.dumps(content, indent=2) + "\n")
        if record.is_file():
            print(markdown(name, json.loads(record.read_text())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
