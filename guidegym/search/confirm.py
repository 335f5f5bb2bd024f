"""Confirmation: the best of a search and all baselines on fresh seeds, with bootstrap intervals."""

from collections.abc import Sequence
from typing import TypeAlias

from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.metrics import measure_set
from guidegym.evaluation.measuring.ranking import Column, Standing, rank
from guidegym.evaluation.measuring.set_objectives import METRIC_OF
from guidegym.objectives import Objective, find_objective
from guidegym.search.scoring import Scored

RESAMPLES = 1000
FRECHET_RESAMPLES = 200
Confirmed: TypeAlias = Standing[Scored]
"""One method's results on the fresh seeds."""
COLUMNS = (
    Column("kid", "KID"),
    Column("frechet_distance", "Frechet distance"),
    Column("accuracy", "accuracy", share=True),
)
"""Metrics of each method: class-wise kernel distance, Frechet distance to all real data, accuracy under the judge."""


def confirm(scored: list[Scored], *, seed: int, objectives: Sequence[Objective | str] = ("kid",)) -> list[Confirmed]:
    """Compute intervals for methods scored on the same fresh rows, best in the first objective first.

    Methods with failed samples come last, whatever their scores. The intervals reflect sampling only; the references are
    treated as fixed.

    Args:
        scored: The methods.
        seed: Seed of the resampling.
        objectives: Objectives of the trials; the first one ranks the methods.
    """
    wanted, standings = [find_objective(one) for one in objectives], []
    for one in scored:
        own, numbers = one.own, _standard(one, seed=seed) if one.scorer.judged else {}
        for objective in wanted:
            if objective.name not in numbers:
                numbers[objective.name] = _measured(one, objective, seed=seed)
        standings.append(Standing(one, one.method.name, numbers, own.evaluations_per_sample, own.num_failed, one.sound))
    return rank(standings, by=wanted[0].name, lower_is_better=wanted[0].direction == "minimize")


def _standard(scored: Scored, *, seed: int) -> dict[str, Measurement]:
    """Return the metrics that every study with a judge reports."""
    own, references = scored.own, scored.references
    found = measure_set(own, references, ["intra_kid", "accuracy"], resamples=RESAMPLES, seed=seed)
    found |= measure_set(own, references, ["frechet"], resamples=FRECHET_RESAMPLES, seed=seed)
    # No resampling at the floor, which one failed sample suffices to reach.
    kid = found["intra_kid"] if scored.sound else Measurement.constant(scored.floor, resamples=RESAMPLES)
    return {"kid": kid, "frechet_distance": found["frechet"], "accuracy": found["accuracy"]}


def _measured(scored: Scored, objective: Objective, *, seed: int) -> Measurement:
    """Return an objective's value with its interval; the floor if samples failed."""
    metric = METRIC_OF.get(objective.name)
    if metric is None:
        return scored.measure(objective, resamples=FRECHET_RESAMPLES, seed=seed)
    if not scored.sound:
        return Measurement.constant(scored.score(objective), resamples=FRECHET_RESAMPLES)
    return measure_set(scored.own, scored.references, [metric], resamples=FRECHET_RESAMPLES, seed=seed)[metric]


def columns_of(objectives: Sequence[Objective], *, judged: bool = True) -> list[Column]:
    """Return the columns of tables: the objectives in order, then the metrics that every study with a judge reports."""
    known = {column.name: column for column in COLUMNS}
    own = [known.get(one.name) or Column(one.name, one.title or one.name) for one in objectives]
    names = {objective.name for objective in objectives}
    if not judged:
        return own
    standard = [one for one in COLUMNS if one.name != "frechet_distance" or "frechet" not in names]
    if own[0] in standard:
        return [*standard, *(one for one in own if one not in standard)]
    return [*own, *(one for one in standard if one not in own)]
