"""Scoring candidates: many schedules and many seeds advance together in one batch, with common random numbers."""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.diffusion import Sampler
from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.guidance import Guidance
from guidegym.judging import failures_of
from guidegym.metrics import ClassKernels, class_kernels
from guidegym.sampling import BATCH_SIZE, OnRows, Samples, rollout, row_seeds, sample
from guidegym.testbeds import Testbed, judge_features

FLOOR_FACTOR = 10.0
"""The worst kernel distance a candidate can have, in units of that of blank samples (zeros)."""


@dataclass(frozen=True)
class Candidate:
    """A guidance with the diffusion sampler it is used with."""

    name: str
    guidance: Guidance
    sampler: Sampler


@dataclass(frozen=True, eq=False)
class Measured:
    """One candidate's samples, measured.

    Args:
        candidate: What was measured.
        samples: The samples, class by class in turn (0, 1, ..., K - 1, 0, 1, ...).
        features: Judge features by class.
        kernels: What the kernel distance is made of.
        hits: Samples that the judge takes for the class asked for; failed ones are none.
        floor: The worst kernel distance there is, which a candidate with a failed row gets.
        failures: Failed samples by what is wrong with them; see ``Failures``.
    """

    candidate: Candidate
    samples: Samples
    features: Float[Tensor, " classes n dim"]
    kernels: ClassKernels
    hits: Bool[Tensor, " classes n"]
    floor: float
    failures: Mapping[str, int]

    @property
    def num_failed(self) -> int:
        """Samples that became non-finite, saturated, or ran far away from all real data."""
        return int(self.samples.failed.sum())

    @property
    def sound(self) -> bool:
        """Whether no sample failed, and the set is nearer to real data than the floor."""
        return self.kid != self.floor

    @property
    def kid(self) -> float:
        """Class-wise kernel distance, capped at the floor; the floor itself where a sample failed."""
        value = float(self.kernels.distance()[0])
        # The unbiased estimate may be below zero, but an absurd set can be absurdly far below: that is no merit.
        return self.floor if self.num_failed or not abs(value) <= self.floor else value

    @property
    def accuracy(self) -> float:
        """Share of samples that the judge takes for the class asked for."""
        return float(self.hits.double().mean())

    @property
    def cost_per_sample(self) -> float:
        """Network evaluations a sample, forward and backward alike."""
        return self.samples.cost.total / len(self.samples.x)

    def score(self, objective: str) -> float:
        """Return one of ``OBJECTIVES`` by name.

        Raises:
            GuideGymError: If there is none of that name.
        """
        known = {"kid": lambda: self.kid, "accuracy": lambda: self.accuracy}
        if objective not in known:
            raise GuideGymError(f"no objective {objective!r}; known are {', '.join(known)}")
        return known[objective]()


@dataclass(frozen=True, eq=False)
class Scorer:
    """Measures candidates on the same seeds.

    Args:
        testbed: What is guided, and what measures.
        seed: Seed of the rows; every candidate gets the same rows.
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
        """The worst kernel distance a candidate can have, from blank samples."""
        blank = torch.zeros(2 * self.testbed.num_classes, *self.testbed.event_shape, dtype=self.testbed.dtype)
        features = judge_features(self.testbed.judge, blank.to(self.testbed.device))
        references = self.testbed.references
        kernels = class_kernels(self._by_class(features), references.features, references.self_term)
        return FLOOR_FACTOR * abs(float(kernels.distance()[0]))

    @property
    def seeds(self) -> Int[Tensor, " rows"]:
        """Noise seed of each row, class by class in turn."""
        return row_seeds(self.seed, self.rows_of(1), first=self.first_row)

    def rows_of(self, num_candidates: int) -> int:
        """Return the number of samples that so many candidates take."""
        return num_candidates * self.samples_per_class * self.testbed.num_classes

    def measure(self, candidates: list[Candidate], *, on_rows: OnRows | None = None) -> list[Measured]:
        """Sample and measure candidates, in their order; those with the same guide, score and sampler share their batches."""
        measured: dict[int, Measured] = {}

        def key(item: tuple[int, Candidate]) -> str:
            guidance = item[1].guidance
            return repr((guidance.guide, guidance.score, guidance.policy, item[1].sampler))

        numbered = sorted(enumerate(candidates), key=key)
        for _, members in itertools.groupby(numbered, key=key):
            group = list(members)
            samples = self._sample([candidate for _, candidate in group], on_rows)
            for (number, candidate), own in zip(group, samples, strict=True):
                measured[number] = self._measure(candidate, own)
        return [measured[number] for number in range(len(candidates))]

    def _sample(self, group: list[Candidate], on_rows: OnRows | None) -> list[Samples]:
        """Sample all candidates of a group, whose guide, score and sampler are the same, in one go."""
        testbed, first, num = self.testbed, group[0], self.rows_of(1)
        process, sampler = testbed.process, first.sampler
        labels, seeds = torch.arange(num) % testbed.num_classes, self.seeds
        if first.guidance.policy is not None:
            return [
                sample(
                    testbed,
                    candidate.guidance,
                    labels=labels,
                    seeds=seeds,
                    sampler=sampler,
                    batch_size=self.batch_size,
                    on_rows=on_rows,
                )
                for candidate in group
            ]
        guidances = [candidate.guidance for candidate in group]
        weights = torch.stack([guidance.weights(sampler, process) for guidance in guidances])
        rates = [guidance.rates(sampler, process) for guidance in guidances]
        still = torch.zeros(sampler.num_steps, dtype=torch.float64)
        moving = torch.stack([still if rate is None else rate for rate in rates])
        together = rollout(
            Engine.under(testbed, sampler, first.guidance),
            labels.repeat(len(group)),
            seeds.repeat(len(group)),
            weights.repeat_interleave(num, dim=0),
            rates=None if not moving.any() else moving.repeat_interleave(num, dim=0),
            degree=torch.cat([guidance.degree.rows(testbed, labels) for guidance in guidances]),
            batch_size=self.batch_size,
            on_rows=on_rows,
        )
        parts = (together.x, together.failed, together.evaluations)
        return [
            Samples(x, labels.to(x.device), seeds.to(x.device), failed, evaluations)
            for x, failed, evaluations in zip(*(part.split(num) for part in parts), strict=True)
        ]

    def _measure(self, candidate: Candidate, samples: Samples) -> Measured:
        references = self.testbed.references
        features = judge_features(self.testbed.judge, samples.x)
        predicted = self.testbed.judged(features).argmax(dim=1)
        failures = failures_of(self.testbed, samples.x, features, references.features)
        # A chain that became non-finite was stopped before: what is left of it may be finite.
        failures = failures._replace(not_finite=failures.not_finite | samples.failed)
        samples = replace(samples, failed=failures.rows)
        hits = (predicted == samples.labels) & ~samples.failed
        by_class = self._by_class(features)
        return Measured(
            candidate=candidate,
            samples=samples,
            features=by_class,
            kernels=class_kernels(by_class, references.features, references.self_term),
            hits=self._by_class(hits),
            floor=self.floor,
            failures={name: int(rows.sum()) for name, rows in failures._asdict().items()},
        )

    def _by_class(self, rows: Tensor) -> Tensor:
        """Reshape rows whose classes come in turn to one block a class."""
        return rows.reshape(-1, self.testbed.num_classes, *rows.shape[1:]).transpose(0, 1)
