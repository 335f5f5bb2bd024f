"""Measure classifiers of a testbed and write a page, a picture and the numbers of each, and a table over all."""

import json
from collections.abc import Sequence
from pathlib import Path

from guidegym.errors import GuideGymError
from guidegym.evaluation.classifiers.measure import Effort, measure, shuffled
from guidegym.evaluation.classifiers.pictures import gradients_picture, measurements_picture
from guidegym.evaluation.classifiers.report import classifier_page, csv_table, markdown_of, table_page, table_row
from guidegym.files import make_folder, write_atomically
from guidegym.guidance import Classifier
from guidegym.testbeds import Testbed
from guidegym.testbeds.testbed import Rows

BESIDE = "time_dependent"
"""The classifier whose gradients are shown beside another's."""


def _pictures(testbed: Testbed, name: str, rows: Rows, drawn: bytes) -> dict[str, bytes]:
    """Return the pictures of a page."""
    pictures = {"Measurements": drawn}
    if len(testbed.event_shape) == 3:
        names = dict.fromkeys([*([BESIDE] if BESIDE in testbed.classifiers else []), name])
        beside: dict[str, Classifier] = {one: testbed.classifier(one) for one in names}
        pictures["Gradients of log p(y | x_t)"] = gradients_picture(testbed, beside, rows)
    return pictures


def evaluate_classifiers(
    testbed: Testbed, names: Sequence[str], *, effort: Effort, data: Path | None, out: Path
) -> None:
    """Measure classifiers one after the other; each one's files are written as soon as it is measured.

    Args:
        testbed: The testbed.
        names: Names of its classifiers; ``all`` alone means every one.
        effort: How much is measured.
        data: Folder of the held-out data, where it is read from files.
        out: Folder for the files.

    Raises:
        GuideGymError: If there is no such classifier, or the testbed has no held-out data.
    """
    names = list(testbed.classifiers) if list(names) == ["all"] else names
    for name in names:
        testbed.classifier(name)
    if testbed.test_data is None:
        raise GuideGymError(f"testbed '{testbed.name}' has no `test_data` to measure on")
    held_out = testbed.test_data(data)
    rows = shuffled(held_out.x.to(testbed.device, testbed.dtype), held_out.labels.to(testbed.device))
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
    print(markdown_of(table), end="")
    write_atomically(out / "table.csv", csv_table(table).encode())
    write_atomically(out / "table.html", table_page(testbed.name, table).encode())
    print(f"pages, pictures and numbers are in {out}")
