"""Testing claims: each one's run, verdict, record, picture, and the page over all."""

import datetime
import json
import os
import subprocess
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guidegym.errors import GuideGymError
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.metrics import METRICS, RESAMPLES, measure_set
from guidegym.evaluation.sample_sets.pictures import grids, side_by_side
from guidegym.evaluation.sample_sets.record import result_of
from guidegym.files import make_folder, write_atomically
from guidegym.metrics.resampling import Estimate
from guidegym.pictures import sample_picture
from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.lab import Lab
from guidegym.reproduction.page import results_page
from guidegym.testbeds import Testbed

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
        effect: object = claim.run(lab)
    if not isinstance(effect, Effect):
        raise GuideGymError(f"`run` of claim '{claim.name}' must return an Effect, got {type(effect).__name__}")
    estimate = effect.estimate
    methods = []
    table = [name for name in METRICS if name in TABLE or name in lab.asked]
    for name, own in lab.seen.items():
        measured = measure_set(own, lab.collection.extractor.references, table, resamples=lab.resamples)
        result = result_of(own, measured, {}, seed=lab.collection.seed)
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
        "code": claim.code,
        "testbed": lab.testbed.name,
        "networks": lab.testbed.identity,
        "extractor": {"name": lab.collection.extractor.name, "digest": lab.collection.extractor.digest},
        "verdict": claim.verdict(estimate),
        "effect": vars(estimate),
        "samples": lab.collection.num_rows,
        "tuning_samples": lab.tuning_per_class * lab.testbed.num_classes,
        "tuned": bool(lab.tuned),
        "measured_in": list(lab.asked),
        "pictured": bool(lab.seen or lab.shown),
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

    A claim whose record is there already, of the same file, networks, samples and seeds, is not run again. The page has
    all records of the folder on the same networks, and is written anew after each claim.

    Args:
        claims: The claims.
        collection: What fresh samples are.
        tuning_per_class: Samples of each class that weights are chosen on.
        out: Folder for records and pictures.
        page: File for the page; default: ``results.md`` beside them.
        resamples: Bootstrap resamples.

    Returns:
        The records, of claims that the testbed has the networks for.

    Raises:
        GuideGymError: If two claims have one name, or one does not return an effect.
    """
    names = [claim.name for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise GuideGymError(f"two of the claims are called '{twice[0]}': their records would be one file")
    make_folder(out)
    found = []
    for claim in claims:
        with tqdm(unit="step", unit_scale=True, desc=claim.name) as bar:
            lab = Lab(collection, tuning_per_class=tuning_per_class, resamples=resamples, on_rows=bar.update)
            if missing := claim.missing(collection.testbed):
                bar.write(f"{claim.name}: left out, {collection.testbed.name} has no {', '.join(missing)}")
                continue
            record = _kept(out / f"{claim.name}.json", claim, lab)
            before = "" if record is None else f", tested on {record['date']}"
            if record is None:
                record = examine(claim, lab)
                # The record comes last: it says that all is there.
                if record["pictured"]:
                    write_atomically(out / f"{claim.name}.png", _picture(lab))
                write_atomically(out / f"{claim.name}.json", (json.dumps(record, indent=1) + "\n").encode())
            found.append(record)
        effect = record["effect"]
        print(f"{claim.name}: {record['verdict']} ({Estimate(**effect).text()}){before}")
        _write_page(found, collection.testbed, out=out, page=page or out / "results.md")
    return found


def _write_page(found: Sequence[Mapping[str, Any]], testbed: Testbed, *, out: Path, page: Path) -> None:
    """Write the page over all records of the folder, those of earlier runs with them."""
    records = sorted([*found, *_others(out, found, testbed)], key=lambda record: str(record["claim"]))
    way = Path(os.path.relpath(out, page.parent)).as_posix()
    write_atomically(page, results_page(records, "" if way == "." else f"{way}/").encode())


def _read(path: Path, testbed: Testbed) -> dict[str, Any] | None:
    """Return a record on the same networks; None where there is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        ours = (record["format"], record["testbed"], record["networks"]) == (FORMAT, testbed.name, testbed.identity)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if ours else None


def _others(out: Path, found: Sequence[Mapping[str, Any]], testbed: Testbed) -> list[dict[str, Any]]:
    """Return the folder's records of other claims."""
    known = {record["claim"] for record in found}
    records = [_read(path, testbed) for path in out.glob("*.json")]
    return [record for record in records if record is not None and record["claim"] not in known]


def _kept(path: Path, claim: Claim, lab: Lab) -> dict[str, Any] | None:
    """Return the record of an earlier run of the same; None where there is none."""
    record = _read(path, lab.testbed)
    wanted = {
        "claim": claim.name,
        "rule": claim.rule,
        "code": claim.code,
        "samples": lab.collection.num_rows,
        "seed": lab.collection.seed,
        "tuning_samples": lab.tuning_per_class * lab.testbed.num_classes,
    }
    same = record is not None and claim.code != "" and wanted.items() <= record.items()
    return record if same else None
