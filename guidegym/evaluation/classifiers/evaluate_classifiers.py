"""Evaluation of a testbed's classifiers: a page, a picture and the numbers of each, and a table over all."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from guidegym.errors import GuideGymError
from guidegym.evaluation.classifiers.classifier_page import (
    classifier_page,
    in_cells,
    markdown_of,
    table_page,
    table_row,
)
from guidegym.evaluation.classifiers.classifier_pictures import gradients_picture, measurements_picture
from guidegym.evaluation.classifiers.measure import Effort, measure, shuffled
from guidegym.networks import network_digest
from guidegym.report.page import encoded
from guidegym.report.pictures import drawn_or_noted
from guidegym.report.tables import csv_text
from guidegym.support.files import file_names, make_folder, read_json, write_atomically, write_or_remove
from guidegym.testbeds import Testbed
from guidegym.testbeds.testbed import Rows

FORMAT = "guidegym-classifier/2"
"""Format of the numbers; changed whenever their measurement changes."""
MEASUREMENTS = "Measurements"
"""Title of the picture that gets its own file."""
BESIDE = "time_dependent"
"""The classifier whose gradients are shown for comparison."""


def _pictures(testbed: Testbed, name: str, rows: Rows, found: dict[str, Any]) -> dict[str, bytes]:
    """Return those pictures of a page that can be drawn."""
    measured = drawn_or_noted(f"what was measured of '{name}'", measurements_picture, found, testbed.class_names)
    pictures = {MEASUREMENTS: measured}
    if len(testbed.event_shape) == 3:
        beside = {one: testbed.classifier(one) for one in (BESIDE, name) if one in testbed.classifiers}
        slopes = drawn_or_noted(f"gradients of '{name}'", gradients_picture, testbed, beside, rows)
        pictures["Gradients of log p(y | x_t)"] = slopes
    return {title: png for title, png in pictures.items() if png is not None}


def _made_of(testbed: Testbed, name: str, rows: Rows, effort: Effort) -> str:
    """Return a digest of everything that a classifier's numbers and pictures depend on; empty if unknown."""
    digest = hashlib.sha256(f"{FORMAT} {testbed.name} {testbed.references.extractor} {effort}".encode())
    networks = [testbed.classifiers[one] for one in (name, BESIDE) if one in testbed.classifiers]
    for network in (*networks, testbed.denoiser):
        if not isinstance(network, nn.Module):
            return ""
        digest.update(network_digest(network).encode())
    digest.update(rows.x[: effort.rows].cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _measured_before(path: Path, made_of: str) -> dict[str, Any] | None:
    """Return the numbers of an earlier identical run; None if there are none."""
    try:
        found: dict[str, Any] = read_json(path)
        same = made_of != "" and found["made_of"] == made_of
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same else None


def _measure(testbed: Testbed, name: str, rows: Rows, effort: Effort, file: Path) -> dict[str, Any]:
    """Measure one classifier unless already measured, and write its files: ``file`` with different suffixes."""
    path, made_of = _ending(file, ".json"), _made_of(testbed, name, rows, effort)
    print(f"{name}: ", end="", flush=True)
    if (found := _measured_before(path, made_of)) is not None:
        print("measured before", flush=True)
    else:
        found = measure(testbed, name, rows, effort, say=lambda what: print(what, end="; ", flush=True))
        found |= {"format": FORMAT, "made_of": made_of, "effort": vars(effort)}
        write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())
        print("done", flush=True)
    pictures = _pictures(testbed, name, rows, found)
    write_or_remove(_ending(file, ".png"), pictures.get(MEASUREMENTS))
    write_atomically(_ending(file, ".html"), encoded(classifier_page(found, pictures, how=effort.says)))
    return found


def _ending(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.name}{ending}")  # a name may contain a dot


def evaluate_classifiers(
    testbed: Testbed, names: Sequence[str], *, effort: Effort, data: Path | None, out: Path
) -> None:
    """Measure classifiers by name, or ``all``, one after the other, and write the files of each as soon as it is measured.

    A classifier is not measured again if its files exist for the same weights, rows and effort.

    Raises:
        GuideGymError: If there is no such classifier, or the testbed has no held-out data.
    """
    names = list(testbed.classifiers) if "all" in names else list(dict.fromkeys(names))
    for name in names:
        testbed.classifier(name)
    if testbed.test_data is None:
        raise GuideGymError(f"testbed '{testbed.name}' has no `test_data` to measure on")
    held_out = Rows(*testbed.test_data(data))
    rows = shuffled(held_out.x.to(testbed.device, testbed.dtype), held_out.labels.to(testbed.device))
    make_folder(out)
    effort = effort.on(len(rows.x))
    print(f"on {effort.says}")
    files = file_names(list(testbed.classifiers))
    table = [table_row(_measure(testbed, name, rows, effort, out / files[name])) for name in names]
    print(markdown_of(table), end="")
    write_atomically(out / "table.csv", encoded(csv_text(*in_cells(table))))
    write_atomically(out / "table.html", encoded(table_page(testbed.name, table, files, how=effort.says)))
    print(f"pages, pictures and numbers are in {out}")
