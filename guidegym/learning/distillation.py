"""Distillation: a learned policy as an open-loop schedule, its mean action by step."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.core.engine import Engine
from guidegym.core.sampling import policy_rollout
from guidegym.diffusion import Sampler
from guidegym.errors import GuideGymError
from guidegym.guidance import Guidance, Table
from guidegym.models import Model


def distill(
    model: Model,
    guidance: Guidance,
    *,
    labels: Int[Tensor, " batch"],
    seeds: Int[Tensor, " batch"],
    sampler: Sampler,
) -> Guidance:
    """Return the guidance whose weight, and rate if there is one, is the policy's mean over rows at each step.

    This loses the policy's adaptation to individual rows; compare the two on fresh seeds to see how much.

    Args:
        model: The model that the policy acts on.
        guidance: A guidance with a policy.
        labels: Wanted classes of the rows to average over.
        seeds: Their noise seeds.
        sampler: The sampler that the policy was trained with.

    Raises:
        GuideGymError: If the guidance has no policy.
    """
    if guidance.policy is None:
        raise GuideGymError("`guidance` must have a policy to distill")
    engine = Engine.under(model, sampler, guidance)
    _, actions = policy_rollout(engine, guidance.policy, labels, seeds, target=guidance.target)
    timesteps = tuple(model.process.position(engine.timesteps[:-1]).tolist())
    tables = []
    for physical in zip(*(guidance.policy.scale.physical(step) for step in actions), strict=True):
        if physical[0] is not None:
            means = [float(torch.as_tensor(values).double().mean()) for values in physical]
            tables.append(Table(timesteps, tuple(means)))
    rate = tables[1] if len(tables) > 1 else None
    return replace(guidance, weight=tables[0], rate=rate, policy=None)
