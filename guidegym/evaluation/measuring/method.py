"""Methods and their samples on given rows: many methods and seeds advance together in one batch."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.core.engine import Engine
from guidegym.core.sampling import BATCH_SIZE, OnRows, Samples, rollout, sample
from guidegym.diffusion import Sampler
from guidegym.guidance import Guidance
from guidegym.models import Model


@dataclass(frozen=True)
class Method:
    """A guidance together with its diffusion sampler, under its name in tables."""

    name: str
    guidance: Guidance
    sampler: Sampler


def sample_methods(
    model: Model,
    methods: Sequence[Method],
    *,
    labels: Int[Tensor, " rows"],
    seeds: Int[Tensor, " rows"],
    batch_size: int = BATCH_SIZE,
    on_rows: OnRows | None = None,
) -> list[Samples]:
    """Return each method's samples of the same rows; methods with the same guide, base model and sampler share batches."""
    found: dict[int, Samples] = {}
    how: dict[str, Any] = {"batch_size": batch_size, "on_rows": on_rows}

    def key(item: tuple[int, Method]) -> str:
        guidance = item[1].guidance
        return repr((guidance.guide, guidance.base_model, guidance.policy, item[1].sampler))

    for _, members in itertools.groupby(sorted(enumerate(methods), key=key), key=key):
        numbers, group = zip(*members, strict=True)
        if group[0].guidance.policy is None:
            own = _together(model, group, labels, seeds, **how)
        else:
            own = [sample(model, one.guidance, labels=labels, seeds=seeds, sampler=one.sampler, **how) for one in group]
        found |= dict(zip(numbers, own, strict=True))
    return [found[number] for number in range(len(methods))]


def _together(
    model: Model, group: Sequence[Method], labels: Int[Tensor, " rows"], seeds: Int[Tensor, " rows"], **how: Any
) -> list[Samples]:
    """Sample methods that differ only in their schedules and targets in one go."""
    num, process, sampler = len(labels), model.process, group[0].sampler
    guidances = [method.guidance for method in group]
    weights = torch.stack([guidance.weights(sampler, process) for guidance in guidances])
    rates = [guidance.rates(sampler, process) for guidance in guidances]
    still = torch.zeros(sampler.num_steps, dtype=torch.float64)
    moving = torch.stack([still if rate is None else rate for rate in rates])
    together = rollout(
        Engine.under(model, sampler, guidances[0]),
        labels.repeat(len(group)),
        seeds.repeat(len(group)),
        weights.repeat_interleave(num, dim=0),
        rates=None if not moving.any() else moving.repeat_interleave(num, dim=0),
        target=torch.cat([guidance.target.rows(model, labels) for guidance in guidances]),
        **how,
    )
    parts = (together.x, together.labels, together.seeds, together.failed, together.evaluations)
    return [Samples(*own) for own in zip(*(part.split(num) for part in parts), strict=True)]
