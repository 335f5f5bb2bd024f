"""Confirmation: the best of a search and all baselines on fresh seeds, with bootstrap intervals."""

from typing import TypeAlias

from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.metrics import measure_set
from guidegym.evaluation.measuring.ranking import Column, Standing, rank
from guidegym.search.scoring import Scored
from guidegym.search.study import OBJECTIVES

RESAMPLES = 1000
FRECHET_RESAMPLES = 200
Confirmed: TypeAlias = Standing[Scored]
"""One method on the fresh seeds."""
COLUMNS = (
    Column("kid", "KID"),
    Column("frechet_distance", "Frechet distance"),
    Column("accuracy", "accuracy", share=True),
)
"""What is known of each method: class-wise kernel distance, Frechet distance to all real data, accuracy under the judge."""


def confirm(scored: list[Scored], *, seed: int, objective: str = "kid") -> list[Confirmed]:
    """Put intervals on methods that were scored on the same fresh rows, the best in ``objective`` first.

    Those with failed samples come after all others, whatever they score. The intervals speak of the samples; the
    references are taken as they are.

    Args:
        scored: The methods.
        seed: Seed of the resampling.
        objective: What decides which is best, one of ``OBJECTIVES``.
    """
    standings = []
    for one in scored:
        own, references = one.own, one.references
        found = measure_set(own, references, ["intra_kid", "accuracy"], resamples=RESAMPLES, seed=seed)
        found |= measure_set(own, references, ["frechet"], resamples=FRECHET_RESAMPLES, seed=seed)
        # At the floor there is nothing to resample: one failed sample is enough to be there.
        kid = found["intra_kid"] if one.sound else Measurement.constant(one.floor, resamples=RESAMPLES)
        numbers = {"kid": kid, "frechet_distance": found["frechet"], "accuracy": found["accuracy"]}
        standings.append(Standing(one, one.method.name, numbers, own.evaluations_per_sample, own.num_failed, one.sound))
    return rank(standings, by=objective, lower_is_better=OBJECTIVES[objective] == "minimize")
