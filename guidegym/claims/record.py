"""The record of a tested claim: verdict, effect with its interval, n, cost, and every method's numbers."""

import datetime
import json
import subprocess
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guidegym.claims.claim import Claim, Effect
from guidegym.claims.lab import Lab
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.metrics import METRICS, measure_set
from guidegym.evaluation.sample_sets.collect import networks_used
from guidegym.evaluation.sample_sets.evaluate_methods import energy_notes
from guidegym.support.files import read_json
from guidegym.testbeds import Testbed

FORMAT = "guidegym-claim/3"
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
"""Metrics in the table of every claim, besides those of its effect."""


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], capture_output=True, text=True, cwd=Path(__file__).parent, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` if it was edited; ``unknown`` for an installed package."""
    # An installed package may lie inside the checkout of another project.
    ours = _git("ls-files", Path(__file__).name) != ""
    return (_git("describe", "--always", "--dirty", "--exclude", "*") if ours else "") or "unknown"


def examine(claim: Claim, lab: Lab) -> dict[str, Any]:
    """Run a claim and return its record."""
    began, wanted, commit = time.perf_counter(), _wanted(claim, lab), _commit()  # of the running code
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        effect: object = claim.run(lab)
    if not isinstance(effect, Effect):
        raise GuideGymError(f"`run` of claim '{claim.name}' must return an Effect, got {type(effect).__name__}")
    lab.note_networks("", *claim.classifiers, *claim.conditionals)
    estimate = effect.estimate
    samples = max([len(x) for x, _ in lab.shown.values()] + [len(own.features) for own in lab.seen.values()] + [0])
    methods = _methods(lab)
    judged_by_energy = [own.method for own in lab.seen.values()] if "energy_divergence" in lab.asked else []
    warned = energy_notes(judged_by_energy, lab.collection) + sorted({str(one.message) for one in caught})
    otherwise = time.perf_counter() - began - lab.spent.waited
    return {
        "format": FORMAT,
        **wanted,
        "paper": claim.paper,
        "place": claim.place,
        "says": claim.says,
        "effect_is": claim.effect,
        "testbed": lab.testbed.name,
        "networks": lab.used,
        "extractor": {"name": lab.collection.extractor.name, "digest": lab.collection.extractor.digest},
        "verdict": claim.verdict(estimate, None if effect.counted else samples),
        "effect": estimate.to_json(),
        "samples": samples,
        "notes": [*lab.notes.values(), *claim.untold(lab.testbed), *warned],
        "measured_in": list(lab.asked),
        "pictured": False,  # until its picture exists
        "network_evaluations": lab.spent.evaluations,
        "seconds": round(lab.spent.seconds + otherwise, 1),
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "commit": commit,
        "methods": methods,
    }


def _methods(lab: Lab) -> list[dict[str, Any]]:
    """Return the numbers of the methods that a claim compared."""
    table = [name for name in METRICS if name in TABLE or name in lab.asked]
    found = []
    for name, own in lab.seen.items():
        measured = measure_set(own, lab.collection.extractor.references, table, resamples=lab.resamples)
        found.append(
            {
                "method": name,
                "metrics": {key: one.estimate.to_json() for key, one in measured.items()},
                "guidance": json.loads(own.method.guidance.to_json()),
                "sampler": repr(own.method.sampler),
                "evaluations_per_sample": own.evaluations_per_sample,
                "failed": own.num_failed,
            }
        )
    return found


def _wanted(claim: Claim, lab: Lab) -> dict[str, Any]:
    """Return the settings that a record must share with a claim to be reused for it."""
    return {
        "claim": claim.name,
        "rule": claim.rule,
        "code": claim.code,
        "per_class": lab.collection.per_class,
        "tuning_per_class": lab.tuning_per_class,
        "seed": lab.collection.seed,
        "resamples": lab.resamples,
    }


def same_networks(used: Mapping[str, Mapping[str, str]], testbed: Testbed) -> bool:
    """Return whether a testbed still has all networks that a record used; additional ones do not make it stale."""
    names = [name for own in used.values() for name in own]
    now = networks_used(testbed, "", *names)
    return all(now[role].get(name) == digest for role, own in used.items() for name, digest in own.items())


def read_record(path: Path, testbed: Testbed) -> dict[str, Any] | None:
    """Return a record on the same networks; None if there is none."""
    try:
        record: dict[str, Any] = read_json(path)
        same = (record["format"], record["testbed"]) == (FORMAT, testbed.name)
        ours = same and same_networks(record["networks"], testbed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if ours else None


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a folder, whatever the testbed.

    Raises:
        GuideGymError: If the folder has none.
    """
    read = [read_json(path) for path in sorted(folder.glob("*.json"))]
    found = [record for record in read if isinstance(record, dict) and record.get("format") == FORMAT]
    if not found:
        raise GuideGymError(f"must be folders with records of claims; {folder} has none", argument="beside")
    return found


def kept_record(path: Path, claim: Claim, lab: Lab) -> Mapping[str, Any] | None:
    """Return the record of an earlier identical run; None if there is none."""
    record = read_record(path, lab.testbed)
    same = record is not None and claim.code != "" and _wanted(claim, lab).items() <= record.items()
    return record if same else None
