"""Testing claims: each one's run, verdict, record, picture, and the page over all."""

import datetime
import json
import os
import subprocess
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.metrics import RESAMPLES, measure_set
from guidegym.evaluation.sample_sets.pictures import grids, side_by_side
from guidegym.evaluation.sample_sets.record import result_of
from guidegym.files import make_folder, write_atomically
from guidegym.pictures import sample_picture
from guidegym.reproduction.claim import Claim
from guidegym.reproduction.lab import Lab
from guidegym.reproduction.page import results_page

TABLE = (
    "frechet",
    "intra_frechet",
    "intra_kid",
    "precision",
    "recall",
    "coverage",
    "accuracy",
    "robustness",
    "energy_divergence",
)
"""Metrics in the table of a claim, whatever its effect is measured in."""
FORMAT = "guidegym-claim/1"


def _commit() -> str:
    """Return the commit of the checkout; ``unknown`` for an installed package."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip() or "unknown"


def examine(claim: Claim, lab: Lab) -> dict[str, Any]:
    """Run a claim and return its record: verdict, effect with its interval, n, cost, and the methods' numbers."""
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        estimate = claim.run(lab).estimate
    methods = []
    for name, own in lab.seen.items():
        measured = measure_set(own, lab.collection.extractor.references, TABLE, resamples=lab.resamples)
        result = result_of(own, measured, {})
        methods.append(
            {
                "method": name,
                "metrics": {key: vars(one) for key, one in result.estimates.items()},
                "evaluations_per_sample": result.evaluations,
                "failed": result.failed,
            }
        )
    return {
        "format": FORMAT,
        "claim": claim.name,
        "paper": claim.paper,
        "place": claim.place,
        "says": claim.says,
        "effect_is": claim.effect,
        "rule": claim.rule,
        "testbed": lab.testbed.name,
        "networks": lab.testbed.identity,
        "extractor": {"name": lab.collection.extractor.name, "digest": lab.collection.extractor.digest},
        "verdict": claim.verdict(estimate),
        "effect": vars(estimate),
        "samples": lab.collection.num_rows,
        "tuning_samples": lab.tuning_per_class * lab.testbed.num_classes,
        "seed": lab.collection.seed,
        "network_evaluations": int(sum(int(own.evaluations.sum()) for own in lab.seen.values())),
        "seconds": round(time.perf_counter() - began, 1),
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "commit": _commit(),
        "warnings": sorted({str(one.message) for one in caught}),
        "methods": methods,
    }


def _picture(lab: Lab) -> bytes:
    """Draw the samples of a claim's methods side by side."""
    names = lab.testbed.class_names
    drawn = list(grids(list(lab.seen.values()), names).values())
    drawn += [sample_picture(x, labels, names, title=name) for name, (x, labels) in lab.shown.items()]
    return side_by_side(drawn)


def reproduce(
    claims: Sequence[Claim],
    collection: Collection,
    *,
    tuning_per_class: int,
    out: Path,
    page: Path | None = None,
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """Test claims one after the other; each one's record is written as soon as there is a verdict.

    A claim whose record is there already, of the same networks, samples and seeds, is not run again.

    Args:
        claims: The claims.
        collection: What fresh samples are.
        tuning_per_class: Samples of each class that weights are chosen on.
        out: Folder for records and pictures.
        page: File for the page; default: ``results.md`` beside them.
        resamples: Bootstrap resamples.

    Returns:
        The records, of claims that the testbed has the networks for.
    """
    make_folder(out)
    found = []
    for claim in claims:
        with tqdm(unit="step", unit_scale=True, desc=claim.name) as bar:
            lab = Lab(collection, tuning_per_class=tuning_per_class, resamples=resamples, on_rows=bar.update)
            if missing := claim.missing(lab):
                bar.write(f"{claim.name}: left out, {collection.testbed.name} has no {', '.join(missing)}")
                continue
            record = _kept(out / f"{claim.name}.json", claim, lab)
            if record is None:
                record = examine(claim, lab)
                write_atomically(out / f"{claim.name}.json", (json.dumps(record, indent=1) + "\n").encode())
                write_atomically(out / f"{claim.name}.png", _picture(lab))
            found.append(record)
        effect = record["effect"]
        print(f"{claim.name}: {record['verdict']} ({effect['value']:.3g} [{effect['low']:.3g}, {effect['high']:.3g}])")
    page = page or out / "results.md"
    way = Path(os.path.relpath(out, page.parent)).as_posix()
    write_atomically(page, results_page(found, "" if way == "." else f"{way}/").encode())
    return found


def _kept(path: Path, claim: Claim, lab: Lab) -> dict[str, Any] | None:
    """Return the record of an earlier run of the same; None where there is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        same = (
            record["format"] == FORMAT
            and (record["claim"], record["rule"], record["effect_is"]) == (claim.name, claim.rule, claim.effect)
            and (record["testbed"], record["networks"]) == (lab.testbed.name, lab.testbed.identity)
            and (record["samples"], record["seed"]) == (lab.collection.num_rows, lab.collection.seed)
            and record["tuning_samples"] == lab.tuning_per_class * lab.testbed.num_classes
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None
