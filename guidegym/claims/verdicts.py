"""Testing of claims: run, verdict, record and picture of each, and the page over all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guidegym.claims.claim import Claim
from guidegym.claims.lab import Lab
from guidegym.claims.record import examine, kept_record, read_record, records_in
from guidegym.claims.results_page import effect_text, results_page
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.metrics import RESAMPLES
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.methods_pictures import grids, side_by_side
from guidegym.report.page import encoded
from guidegym.report.pictures import drawn_or_noted, picture_of
from guidegym.support.files import make_folder, write_atomically, write_or_remove
from guidegym.testbeds import Testbed


def _picture(lab: Lab) -> bytes | None:
    """Draw the samples of a claim's methods side by side; None if none can be drawn."""
    drawn = list(grids(list(lab.seen.values()), lab.testbed).values())
    for name, (x, labels) in lab.shown.items():
        png = drawn_or_noted(f"'{name}'", picture_of, lab.testbed, x, labels, title=name)
        drawn += [] if png is None else [png]
    return side_by_side(drawn) if drawn else None


def reproduce(
    claims: Sequence[Claim],
    collection: Collection,
    *,
    tuning_per_class: int,
    out: Path,
    page: Path | None = None,
    beside: Sequence[Path] = (),
    resamples: int = RESAMPLES,
) -> list[Mapping[str, Any]]:
    """Test claims one after the other; each record is written as soon as there is a verdict.

    A claim is not run again if its record exists for the same file, networks, samples and seeds. The page contains all
    records of the folder on the same networks, and is rewritten after each claim.

    Args:
        claims: The claims.
        collection: The fresh samples.
        tuning_per_class: Samples per class that weights are tuned on.
        out: Folder for records and pictures.
        page: File for the page; default: ``results.md`` beside the records.
        beside: Folders with records of other testbeds, which the page shows as well.
        resamples: Bootstrap resamples.

    Returns:
        The records, of claims that the testbed's networks can decide.

    Raises:
        GuideGymError: If two claims have the same name, one does not return an effect, or a folder beside has no records.
    """
    names = [claim.name for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise GuideGymError(f"two claims are named '{twice[0]}': their records would share one file")
    make_folder(out)
    elsewhere = {folder: records_in(folder) for folder in beside}
    found: list[Mapping[str, Any]] = []
    for claim in claims:
        with tqdm(unit="step", unit_scale=True, desc=claim.name) as bar:
            lab = Lab(collection, tuning_per_class=tuning_per_class, resamples=resamples, on_rows=bar.update)
            if missing := claim.missing(collection.testbed):
                bar.write(f"{claim.name}: left out, {collection.testbed.name} has no {', '.join(missing)}")
                continue
            if unfit := claim.unfit(collection.testbed):
                bar.write(f"{claim.name}: left out, {'; '.join(unfit)}")
                continue
            record = kept_record(out / f"{claim.name}.json", claim, lab)
            before = "" if record is None else f", tested on {record['date']}"
            if record is None:
                record = examine(claim, lab)
                # The record comes last: it marks the claim as complete.
                png = _picture(lab)
                record["pictured"] = png is not None
                write_or_remove(out / f"{claim.name}.png", png)
                text = json.dumps(record, indent=1, allow_nan=False) + "\n"
                write_atomically(out / f"{claim.name}.json", text.encode())
            found.append(record)
        print(f"{claim.name}: {record['verdict']} ({effect_text(record)}){before}")
        _write_page(found, collection.testbed, out=out, page=page or out / "results.md", elsewhere=elsewhere)
    return found


def _write_page(
    found: Sequence[Mapping[str, Any]],
    testbed: Testbed,
    *,
    out: Path,
    page: Path,
    elsewhere: Mapping[Path, Sequence[Mapping[str, Any]]],
) -> None:
    """Write the page over all records of the folder, those of earlier runs and of other testbeds with them."""
    known, folders = {record["claim"] for record in found}, {testbed.name: out}
    earlier = (read_record(path, testbed) for path in out.glob("*.json"))
    records = [*found, *(record for record in earlier if record is not None and record["claim"] not in known)]
    for folder, own in elsewhere.items():
        others = [record for record in own if record["testbed"] != testbed.name]
        folders |= dict.fromkeys((record["testbed"] for record in others), folder)
        records += others
    records.sort(key=lambda record: str(record["claim"]))  # stable: the testbed of this run comes first
    ways = {name: Path(os.path.relpath(folder, page.parent)).as_posix() for name, folder in folders.items()}
    pictures = {name: "" if way == "." else f"{way}/" for name, way in ways.items()}
    write_atomically(page, encoded(results_page(records, pictures)))
