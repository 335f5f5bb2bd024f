"""Scoring methods: many of them and many seeds advance together in one batch, with common random numbers."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.method import Method, sample_methods
from guidegym.evaluation.measuring.metrics import values_of
from guidegym.evaluation.measuring.sample_set import SampleSet, look
from guidegym.metrics import class_kernels
from guidegym.sampling import BATCH_SIZE, OnRows, row_seeds
from guidegym.testbeds import References, Testbed, judge_features

FLOOR_FACTOR = 10.0
"""The worst kernel distance a method can have, in units of that of blank samples (zeros)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's samples with what a search goes by.

    Args:
        own: The samples as they were seen, all kept whole.
        references: What they are measured against.
        floor: The worst kernel distance there is, which a method with a failed sample gets.
    """

    own: SampleSet
    references: References
    floor: float

    @property
    def method(self) -> Method:
        """What was scored."""
        return self.own.method

    @property
    def sound(self) -> bool:
        """Whether no sample failed, and the set is nearer to real data than the floor."""
        return self.kid != self.floor

    @functools.cached_property
    def kid(self) -> float:
        """Class-wise kernel distance, capped at the floor; the floor itself where a sample failed."""
        value = values_of(self.own, self.references, ["intra_kid"])["intra_kid"]
        # The unbiased estimate may be below zero, but an absurd set can be absurdly far below: that is no merit.
        return value if abs(value) <= self.floor else self.floor

    @property
    def accuracy(self) -> float:
        """Share of samples that the judge takes for the wanted class."""
        return values_of(self.own, self.references, ["accuracy"])["accuracy"]

    def score(self, objective: str) -> float:
        """Return one of ``OBJECTIVES`` by name."""
        return {"kid": self.kid, "accuracy": self.accuracy}[objective]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores methods on the same seeds.

    Args:
        testbed: What is guided, and what measures.
        seed: Seed of the rows; every method gets the same rows.
        samples_per_class: Samples of each class.
        batch_size: Rows that advance together.
        first_row: Number of the first row under the seed.
    """

    testbed: Testbed
    seed: int
    samples_per_class: int
    batch_size: int = BATCH_SIZE
    first_row: int = 0

    @functools.cached_property
    def floor(self) -> float:
        """The worst kernel distance a method can have, from blank samples."""
        classes, references = self.testbed.num_classes, self.testbed.references
        blank = torch.zeros(2 * classes, *self.testbed.event_shape, dtype=self.testbed.dtype)
        features = judge_features(self.testbed.judge, blank.to(self.testbed.device)).unflatten(0, (2, classes))
        kernels = class_kernels(features.transpose(0, 1), references.features, references.self_term)
        return FLOOR_FACTOR * abs(float(kernels.distance()[0]))

    @property
    def seeds(self) -> Int[Tensor, " rows"]:
        """Noise seed of each row, class by class in turn."""
        return row_seeds(self.seed, self.rows_of(1), first=self.first_row)

    def rows_of(self, num_methods: int) -> int:
        """Return the number of samples that so many methods take."""
        return num_methods * self.samples_per_class * self.testbed.num_classes

    def measure(self, methods: Sequence[Method], *, on_rows: OnRows | None = None) -> list[Scored]:
        """Sample and score methods, in their order."""
        testbed, extractor = self.testbed, judge_extractor(self.testbed)
        samples = sample_methods(
            testbed,
            methods,
            labels=torch.arange(self.rows_of(1)) % testbed.num_classes,
            seeds=self.seeds,
            batch_size=self.batch_size,
            on_rows=on_rows,
        )
        return [
            Scored(look(method, own, testbed, extractor, bank=False), testbed.references, self.floor)
            for method, own in zip(methods, samples, strict=True)
        ]
