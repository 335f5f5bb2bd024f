"""The record of an evaluation, written to JSON and read back for comparison with later results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.evaluation.measuring.measurement import Delta, Measurement
from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.collect import Collection, digest_in
from guidegym.guidance import Cost
from guidegym.metrics.resampling import Estimate
from guidegym.support.files import read_json

FORMAT = "guidegym-evaluation/1"
NOUNS = {"samples": "number of samples", "energy_of": "classifier of energies", "judges": "bank of judges"}
"""Names of the fields in error messages."""


@dataclass(frozen=True)
class Result:
    """One method's numbers.

    Args:
        name: Its name in tables.
        estimates: Its numbers, by metric.
        deltas: Their differences from the first method's on the same rows; empty for that method, and for results of
            another run, whose rows are not available.
        cost: Network evaluations per sample, by kind.
        seconds_per_1000: Seconds to sample 1000.
        failed: Number of failed samples.
        seed: Seed of the samples.
        sampler: The diffusion sampler.
        beside: Whether it is from an earlier run.
    """

    name: str
    estimates: Mapping[str, Estimate]
    deltas: Mapping[str, Delta]
    cost: Mapping[str, float]
    seconds_per_1000: float
    failed: int
    seed: int
    sampler: str
    beside: bool = False

    @property
    def evaluations(self) -> float:
        """Network evaluations per sample, forward and backward."""
        return sum(self.cost.values())


def result_of(own: SampleSet, measured: Mapping[str, Measurement], deltas: Mapping[str, Delta], *, seed: int) -> Result:
    """Return the record of one measured set."""
    num = len(own.features)
    cost = Cost(*own.evaluations.sum(dim=0).tolist())
    return Result(
        name=own.method.name,
        estimates={name: one.estimate for name, one in measured.items()},
        deltas=deltas,
        cost={name: value / num for name, value in vars(cost).items()},
        seconds_per_1000=1000 * own.seconds / num,
        failed=own.num_failed,
        seed=seed,
        sampler=repr(own.method.sampler),
    )


def comparable(collection: Collection) -> dict[str, Any]:
    """Return the settings that two results must share to appear in one table."""
    testbed, energy = collection.testbed, collection.energy
    energy_of = None
    if energy is not None:
        energy_of = {"name": energy, "digest": digest_in(testbed, testbed.classifiers[energy])}
    return {
        "testbed": testbed.name,
        "extractor": {"name": collection.extractor.name, "digest": collection.extractor.digest},
        "samples": collection.num_rows,
        "energy_of": energy_of,
        "judges": {name: digest_in(testbed, judge) for name, judge in testbed.judges.items()},
    }


def to_json(results: list[Result], shared: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Return the file's content."""
    methods = [
        {
            "method": one.name,
            "metrics": {name: value.to_json() for name, value in one.estimates.items()},
            "delta_to_first": {name: value.to_json() for name, value in one.deltas.items()},
            "network_evaluations_per_sample": dict(one.cost),
            "seconds_per_1000": one.seconds_per_1000,
            "failed_samples": one.failed,
            "seed": one.seed,
            "sampler": one.sampler,
        }
        for one in results
    ]
    return json.dumps({"format": FORMAT, **shared, **about, "methods": methods}, indent=1) + "\n"


def from_json(path: Path, shared: Mapping[str, Any]) -> list[Result]:
    """Read the methods of an earlier evaluation, comparable with ``shared``; the file's folder prefixes their names.

    Raises:
        FileFormatError: If it cannot be read or is not such a file.
        GuideGymError: If its testbed, extractor or number of samples differs.
    """
    try:
        content: Any = read_json(path)
        if content["format"] != FORMAT:
            raise FileFormatError(f"{path} must have format {FORMAT!r}, got {content['format']!r}")
        theirs = {key: content[key] for key in shared}
        results = [_read(one, path) for one in content["methods"]]
    except FileFormatError:
        raise
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is not a readable file of results: {error!r}") from error
    for key, own in shared.items():
        if theirs[key] != own:
            raise GuideGymError(
                f"{path} has another {NOUNS.get(key, key)} and is not comparable with these: {theirs[key]}, not {own}"
            )
    return results


def _read(one: Mapping[str, Any], path: Path) -> Result:
    known = {name: value for name, value in one["metrics"].items() if name in METRICS}
    estimates = {name: Estimate.from_json(value, worst=METRICS[name].worst) for name, value in known.items()}
    return Result(
        name=f"{path.parent.name}/{one['method']}",
        estimates=estimates,
        deltas={},
        cost={name: float(value) for name, value in one["network_evaluations_per_sample"].items()},
        seconds_per_1000=float(one["seconds_per_1000"]),
        failed=int(one["failed_samples"]),
        seed=int(one["seed"]),
        sampler=str(one["sampler"]),
        beside=True,
    )
