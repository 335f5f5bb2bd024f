"""``python -m guidegym.evaluate``: measure classifiers before guiding with them."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from guidegym.command import add_device, check_device, folder, run_command
from guidegym.errors import GuideGymError
from guidegym.evaluation.measure import Effort, measure, shuffled
from guidegym.evaluation.pictures import gradients_picture, measurements_picture
from guidegym.evaluation.report import classifier_page, csv_table, markdown_table, table_page, table_row
from guidegym.files import make_folder, write_atomically
from guidegym.guidance import Classifier
from guidegym.testbeds import Testbed, load_testbed
from guidegym.testbeds.testbed import Rows

QUICK = Effort(rows=300, attacked=40, attack_steps=10, smallest=10)
BESIDE = "time_dependent"
"""The classifier whose gradients are shown beside another's."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m guidegym.evaluate", description=__doc__)
    parser.add_argument("--classifier", nargs="+", metavar="NAME", required=True, help="names, or: all")
    parser.add_argument("--testbed", default="fashion", help="testbed, or path to a Python file with one")
    parser.add_argument("--weights", type=Path, help="folder with other weights than the shipped ones")
    parser.add_argument("--data", type=Path, help="folder of the data set, where it is read from files")
    parser.add_argument("--out", type=folder, help="where pages go; default: runs/classifiers-TESTBED")
    parser.add_argument("--quick", action="store_true", help="few rows and short attacks")
    parser.add_argument("--rows", type=int, help=f"rows to measure (default {Effort.rows})")
    parser.add_argument("--attacked", type=int, help=f"rows to attack (default {Effort.attacked})")
    add_device(parser)
    return parser


def _effort(arguments: argparse.Namespace) -> Effort:
    base = QUICK if arguments.quick else Effort()
    given = {key: getattr(arguments, key) for key in ("rows", "attacked") if getattr(arguments, key) is not None}
    return Effort(**{**vars(base), **given})


def _pictures(testbed: Testbed, name: str, rows: Rows, drawn: bytes) -> dict[str, bytes]:
    """Return the pictures of a page."""
    pictures = {"Measurements": drawn}
    if len(testbed.event_shape) == 3:
        names = dict.fromkeys([*([BESIDE] if BESIDE in testbed.classifiers else []), name])
        beside: dict[str, Classifier] = {one: testbed.classifier(one) for one in names}
        pictures["Gradients of log p(y | x_t)"] = gradients_picture(testbed, beside, rows)
    return pictures


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    testbed = load_testbed(arguments.testbed, device=check_device(arguments.device), weights=arguments.weights)
    names = list(testbed.classifiers) if arguments.classifier == ["all"] else arguments.classifier
    for name in names:
        testbed.classifier(name)
    effort = _effort(arguments)
    if testbed.test_data is None:
        raise GuideGymError(f"testbed '{testbed.name}' has no `test_data` to measure on")
    held_out = testbed.test_data(arguments.data)
    rows = shuffled(held_out.x.to(testbed.device, testbed.dtype), held_out.labels.to(testbed.device))
    out = arguments.out or Path("runs") / f"classifiers-{testbed.name}"
    make_folder(out)
    table = []
    for name in names:
        print(f"{name}: ", end="", flush=True)
        found = measure(testbed, name, rows, effort, say=lambda what: print(what, end="; ", flush=True))
        print("done", flush=True)
        drawn = measurements_picture(found)
        write_atomically(out / f"{name}.json", (json.dumps(found, indent=1) + "\n").encode())
        write_atomically(out / f"{name}.png", drawn)
        page = classifier_page(found, _pictures(testbed, name, rows, drawn))
        write_atomically(out / f"{name}.html", page.encode())
        table.append(table_row(found))
    print(markdown_table(table), end="")
    write_atomically(out / "table.csv", csv_table(table).encode())
    write_atomically(out / "table.html", table_page(testbed.name, table).encode())
    print(f"pages, pictures and numbers are in {out}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv, flags={"rows": "--rows", "attacked": "--attacked"})


if __name__ == "__main__":
    sys.exit(main())
