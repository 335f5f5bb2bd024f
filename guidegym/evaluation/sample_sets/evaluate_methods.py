"""A whole evaluation of methods: sampling, measuring, comparing, and writing the files."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from guidegym.core.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.measurement import deltas
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metrics import METRICS, RESAMPLES, check_names, check_size, measure_set
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.collect import Collection, collect, merge
from guidegym.evaluation.sample_sets.methods_page import build_page
from guidegym.evaluation.sample_sets.methods_pictures import curves, grids, side_by_side
from guidegym.evaluation.sample_sets.named_methods import scaled
from guidegym.evaluation.sample_sets.results import Result, comparable, from_json, result_of, to_json
from guidegym.evaluation.sample_sets.table import csv_table, legend, table_rows
from guidegym.report.page import encoded
from guidegym.report.pictures import drawn_or_noted
from guidegym.report.tables import format_table
from guidegym.support.files import make_folder, write_atomically, write_or_remove
from guidegym.support.settings import plain_fields


@dataclass(frozen=True)
class Plan:
    """The measurements of an evaluation.

    Args:
        metrics: Names of metrics; empty for all.
        scales: Factors on the weight of each guided method, for curves; empty for none.
        beside: Files of earlier results to show in the same table.
        resamples: Bootstrap resamples.
        shard: Index of this shard, in 0 .. shards - 1.
        shards: Number of shards; several shards only sample until no chunk is missing.
    """

    metrics: Sequence[str] = ()
    scales: Sequence[float] = ()
    beside: Sequence[Path] = ()
    resamples: int = RESAMPLES
    shard: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        plain_fields(self)
        check_names(self.metrics)
        if self.shards < 1:
            raise GuideGymError(f"must be >= 1, got {self.shards}", argument="shards")
        if not 0 <= self.shard < self.shards:
            raise GuideGymError(f"must be in 0..{self.shards - 1}, got {self.shard}", argument="shard")

    @property
    def names(self) -> list[str]:
        """The metrics, in table order."""
        return [name for name in METRICS if not self.metrics or name in self.metrics]


def _scaled(methods: Sequence[Method], plan: Plan, collection: Collection) -> dict[str, dict[float, Method]]:
    """Return the methods at each factor on the weight; methods without a guide are left out."""
    return {
        one.name: {factor: scaled(one, factor, collection.testbed.process) for factor in plan.scales}
        for one in methods
        if one.guidance.guide is not None and plan.scales
    }


def _measured(sets: Sequence[SampleSet], collection: Collection, plan: Plan) -> list[Result]:
    """Measure sets and compare each with the first."""
    references = collection.extractor.references
    with tqdm(sets, desc="measure", unit="set") as bar:
        found = [measure_set(own, references, plan.names, resamples=plan.resamples) for own in bar]
    return [
        result_of(own, measured, {} if own is sets[0] else deltas(measured, found[0]), seed=collection.seed)
        for own, measured in zip(sets, found, strict=True)
    ]


def _check_measurable(plan: Plan, collection: Collection) -> None:
    """Check that the testbed has what the explicitly requested metrics need."""
    if "energy_divergence" in plan.metrics and collection.energy is None:
        raise GuideGymError(
            f"`energy_divergence` needs class energies, but testbed '{collection.testbed.name}' has none"
        )
    if "spatial_frechet" in plan.metrics and collection.extractor.references.spatial is None:
        raise GuideGymError(f"`spatial_frechet` needs spatial features, but {collection.extractor.name} has none")


def evaluate_methods(
    methods: Sequence[Method], collection: Collection, plan: Plan, *, out: Path
) -> list[Result] | None:
    """Sample methods on the same seeds, measure them, compare the others with the first, and write all files into ``out``.

    Returns:
        The results; None if other shards still have chunks to sample.

    Raises:
        GuideGymError: If a method does not fit the testbed, a metric is undefined for so few samples, or earlier results
            are not comparable with these.
    """
    testbed = collection.testbed
    _check_measurable(plan, collection)
    for one in methods:
        Engine.under(testbed, one.sampler, one.guidance)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_size(plan.names, collection.extractor.references, per_class=collection.per_class)
    notes = [str(one.message) for one in caught] + [testbed.judge_note] * bool(testbed.judge_note)
    if "energy_divergence" in plan.names:
        notes += energy_notes(methods, collection)
    for said in notes:
        print(f"warning: {said}")
    shared = comparable(collection)
    earlier = [result for path in plan.beside for result in from_json(path, shared)]
    at_scale = _scaled(methods, plan, collection)
    make_folder(out)
    every = [*methods, *(one for points in at_scale.values() for one in points.values())]
    total = sum(one.sampler.num_steps for one in every) * collection.num_rows // plan.shards
    with tqdm(total=total, unit="step", unit_scale=True, desc="sample") as bar:
        missing = collect(every, collection, shard=plan.shard, shards=plan.shards, on_rows=bar.update)
    if missing:
        print(f"shard {plan.shard} of {plan.shards} is done; {missing} chunks of other shards are missing")
        return None
    sets = [merge(one, collection) for one in methods]
    results = [*_measured(sets, collection, plan), *earlier]
    about = {
        "seed": collection.seed,
        "networks": testbed.identity,
        "sampler": repr(methods[0].sampler),
        "resamples": plan.resamples,
    }
    # The numbers come first: pictures can be drawn again.
    write_atomically(out / "results.json", to_json(results, shared, about).encode())
    write_atomically(out / "table.csv", encoded(csv_table(results)))
    drawn, pictures = _curves(at_scale, collection, plan), grids(sets, testbed)
    title = f"Methods on {testbed.name}, {collection.num_rows} samples each"
    page = build_page(title, results, about={**shared, **about}, notes=notes, grids=pictures, curves=drawn)
    write_atomically(out / "report.html", encoded(page))
    write_or_remove(out / "samples.png", side_by_side(list(pictures.values())) if pictures else None)
    write_or_remove(out / "curves.png", drawn)
    print(format_table(*table_rows(results)))
    print(legend(results))
    print(f"tables, pictures and the page are in {out}")
    return results


def energy_notes(methods: Sequence[Method], collection: Collection) -> list[str]:
    """Return a note on methods guided by the classifier whose energy divergence is measured, if there are any."""
    guided = [
        f"'{one.name}'"
        for one in methods
        if collection.energy is not None and f'"{collection.energy}"' in one.guidance.to_json()
    ]
    if not guided:
        return []
    return [f"energy divergence is measured by '{collection.energy}', which guides {', '.join(guided)} too"]


def _curves(at_scale: Mapping[str, Mapping[float, Method]], collection: Collection, plan: Plan) -> bytes | None:
    """Measure the methods at each factor on their weight and draw the curves."""
    if not at_scale:
        return None
    points = {}
    for name, methods in at_scale.items():
        results = _measured([merge(one, collection) for one in methods.values()], collection, plan)
        points[name] = list(zip(methods, results, strict=True))
    return drawn_or_noted("the curves", curves, points)


def energy_for(collection_energy: str | None, known: Mapping[str, object]) -> str | None:
    """Return the classifier whose energy divergence is measured: the requested one, or ``robust`` if available.

    Raises:
        GuideGymError: If the class energies of the requested one are unknown.
    """
    if collection_energy is None:
        return "robust" if "robust" in known else next(iter(known), None)
    if collection_energy not in known:
        raise GuideGymError(
            f"must be a classifier with known class energies ({', '.join(known) or 'none'}), got {collection_energy!r}",
            argument="energy",
        )
    return collection_energy
