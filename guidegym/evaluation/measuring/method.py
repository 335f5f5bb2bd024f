"""A method, and its samples on given rows: many methods and many seeds advance together in one batch."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.diffusion import Sampler
from guidegym.engine import Engine
from guidegym.guidance import Guidance
from guidegym.sampling import BATCH_SIZE, OnRows, Samples, rollout, sample
from guidegym.testbeds import Testbed


@dataclass(frozen=True)
class Method:
    """A guidance with the diffusion sampler it is used with.

    Args:
        name: What tables call it.
        guidance: The guidance.
        sampler: The diffusion sampler.
    """

    name: str
    guidance: Guidance
    sampler: Sampler


def sample_methods(
    testbed: Testbed,
    methods: Sequence[Method],
    *,
    labels: Int[Tensor, " rows"],
    seeds: Int[Tensor, " rows"],
    batch_size: int = BATCH_SIZE,
    on_rows: OnRows | None = None,
) -> list[Samples]:
    """Sample every method on the same rows; those with the same guide, score and sampler share their batches.

    Args:
        testbed: What is guided.
        methods: The methods.
        labels: Wanted class of each row.
        seeds: Noise seed of each row.
        batch_size: Rows that advance together.
        on_rows: Told after each step how many rows took it.

    Returns:
        The samples of each method, in the order of the methods.
    """
    found: dict[int, Samples] = {}

    def key(item: tuple[int, Method]) -> str:
        guidance = item[1].guidance
        return repr((guidance.guide, guidance.score, guidance.policy, item[1].sampler))

    for _, members in itertools.groupby(sorted(enumerate(methods), key=key), key=key):
        numbers, group = zip(*members, strict=True)
        if group[0].guidance.policy is None:
            own = _together(testbed, group, labels, seeds, batch_size, on_rows)
        else:
            own = [
                sample(
                    testbed,
                    method.guidance,
                    labels=labels,
                    seeds=seeds,
                    sampler=method.sampler,
                    batch_size=batch_size,
                    on_rows=on_rows,
                )
                for method in group
            ]
        found |= dict(zip(numbers, own, strict=True))
    return [found[number] for number in range(len(methods))]


def _together(
    testbed: Testbed,
    group: Sequence[Method],
    labels: Int[Tensor, " rows"],
    seeds: Int[Tensor, " rows"],
    batch_size: int,
    on_rows: OnRows | None,
) -> list[Samples]:
    """Sample methods that differ only in their schedules and degrees in one go."""
    first, num = group[0], len(labels)
    process, sampler = testbed.process, first.sampler
    guidances = [method.guidance for method in group]
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
        batch_size=batch_size,
        on_rows=on_rows,
    )
    parts = (together.x, together.failed, together.evaluations)
    return [
        Samples(x, labels.to(x.device), seeds.to(x.device), failed, evaluations)
        for x, failed, evaluations in zip(*(part.split(num) for part in parts), strict=True)
    ]
