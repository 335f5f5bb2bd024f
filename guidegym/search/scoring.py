"""Scoring of methods: many methods and seeds advance together in one batch, with common random numbers."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.core.sampling import BATCH_SIZE, OnRows, Samples, row_seeds
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.method import Method, sample_methods
from guidegym.evaluation.measuring.metrics import METRICS, values_of
from guidegym.evaluation.measuring.sample_set import SampleSet, look, unjudged
from guidegym.evaluation.measuring.set_objectives import METRIC_OF, measure_objective, set_of, values_by
from guidegym.models import Model
from guidegym.objectives import Finished, Objective
from guidegym.testbeds import References, Testbed
from guidegym.testbeds.judge import Seen

FLOOR_FACTOR = 10.0
"""The worst kernel distance of a method, in units of that of blank samples (zeros)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's samples and scores.

    Args:
        own: The samples with the judge's outputs, kept in full.
        scorer: The scorer that sampled them.
    """

    own: SampleSet
    scorer: "Scorer"

    @property
    def method(self) -> Method:
        """The scored method."""
        return self.own.method

    @property
    def references(self) -> References:
        """The references that the samples are compared with."""
        return self.finished.testbed.references

    @property
    def floor(self) -> float:
        """The worst kernel distance, assigned to a method with a failed sample."""
        return self.scorer.floor

    @property
    def sound(self) -> bool:
        """Whether no sample failed, and the set is closer to real data than the floor if there is a judge."""
        return self.kid != self.floor if self.scorer.judged else self.own.num_failed == 0

    @functools.cached_property
    def kid(self) -> float:
        """Class-wise kernel distance, capped at the floor; the floor itself if a sample failed."""
        return self._metric("intra_kid")

    @property
    def accuracy(self) -> float:
        """Share of samples that the judge assigns to the wanted class."""
        return self._metric("accuracy")

    @functools.cached_property
    def finished(self) -> Finished:
        """The samples as passed to objectives; the judge's outputs are reused."""
        own = self.own
        labels = torch.arange(len(own.shown), device=own.shown.device) % own.num_classes
        cost = own.evaluations.sum(dim=1)[: len(own.shown)].to(labels.device)
        finished = Finished(
            own.shown.nan_to_num(0.0), labels, self.scorer.testbed, self.method.guidance.guide, evaluations=cost
        )
        if self.scorer.judged:
            vars(finished)["seen"] = Seen(own.features, own.logits, own.spatial)
        return finished

    def score(self, objective: Objective) -> float:
        """Return the value of an objective; its floor if samples failed."""
        if objective.name in METRIC_OF:
            return self._metric(METRIC_OF[objective.name])
        return float(values_by(objective, self.finished, self.own.failed).mean())

    def _metric(self, name: str) -> float:
        value, worst = values_of(self.own, self.references, [name])[name], self.scorer.worst(name)
        if not METRICS[name].lower_is_better:
            return value if math.isfinite(value) else worst
        # An unbiased estimate may be below zero, but a degenerate set can be far below, which is no merit.
        return value if abs(value) <= worst else worst

    def measure(self, objective: Objective, *, resamples: int, seed: int) -> Measurement:
        """Return the value of an objective with its interval; see ``measure_objective``."""
        return measure_objective(objective, self.finished, self.own, resamples=resamples, seed=seed)


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores methods on the same seeds.

    Args:
        testbed: The model to guide, with its judge if it has one.
        seed: Seed of the rows; every method gets the same rows.
        samples_per_class: Samples per class.
        batch_size: Rows that advance together.
        first_row: Number of the first row under the seed.
        bank: Whether all judges of the bank evaluate the samples, or the judge alone.
    """

    testbed: Model
    seed: int
    samples_per_class: int
    batch_size: int = BATCH_SIZE
    first_row: int = 0
    bank: bool = False

    @property
    def judged(self) -> bool:
        """Whether there is a judge; otherwise methods are scored by objectives of users alone."""
        return isinstance(self.testbed, Testbed)

    @functools.cached_property
    def _floors(self) -> dict[str, float]:
        return {}

    @property
    def floor(self) -> float:
        """The worst kernel distance of a method."""
        return self.worst("intra_kid")

    def worst(self, metric: str) -> float:
        """Return the worst score in a metric: ten times that of a blank set, or 0 if higher is better."""
        if not METRICS[metric].lower_is_better:
            return 0.0
        if metric not in self._floors:
            blank, references = set_of(Finished.blank(self.testbed, per_class=max(METRICS[metric].least, 2)))
            self._floors[metric] = FLOOR_FACTOR * abs(values_of(blank, references, [metric])[metric])
        return self._floors[metric]

    @property
    def seeds(self) -> Int[Tensor, " rows"]:
        """Noise seed of each row, cycling through the classes."""
        return row_seeds(self.seed, self.rows_of(1), first=self.first_row)

    def rows_of(self, num_methods: int) -> int:
        """Return the number of samples for the given number of methods."""
        return num_methods * self.samples_per_class * self.testbed.num_classes

    def measure(self, methods: Sequence[Method], *, on_rows: OnRows | None = None) -> list[Scored]:
        """Sample and score methods, in order."""
        return self.score(methods, self.sample(methods, torch.arange(self.rows_of(1)), on_rows=on_rows))

    def sample(
        self, methods: Sequence[Method], rows: Int[Tensor, " some"], *, on_rows: OnRows | None = None
    ) -> list[Samples]:
        """Return each method's samples of some of the rows."""
        return sample_methods(
            self.testbed,
            methods,
            labels=rows % self.testbed.num_classes,
            seeds=self.seeds[rows],
            batch_size=self.batch_size,
            on_rows=on_rows,
        )

    def score(self, methods: Sequence[Method], samples: Sequence[Samples]) -> list[Scored]:
        """Score methods by their samples of all rows."""
        testbed, drawn = self.testbed, list(zip(methods, samples, strict=True))
        if not isinstance(testbed, Testbed):
            return [Scored(unjudged(method, own, testbed), self) for method, own in drawn]
        extractor = judge_extractor(testbed)
        return [Scored(look(method, own, testbed, extractor, bank=self.bank), self) for method, own in drawn]
