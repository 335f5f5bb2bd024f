"""Whole episodes of a task as tensors, for agents and comparisons."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.core.state import State
from guidegym.envs.task import Rollout, Task
from guidegym.guidance import Policy

Act = Callable[[Task, Rollout], Tensor]
"""``(task, rollout after look) -> actions in [-1, 1]``; with a true attribute ``blind``, ``look`` is skipped."""


@dataclass(frozen=True, eq=False)
class Played:
    """Finished episodes.

    Args:
        state: Their final state.
        total: Sum of the rewards of each row.
        actions: The actions taken, in [-1, 1].
    """

    state: State
    total: Float[Tensor, " batch"]
    actions: Float[Tensor, " steps batch size"]


def follow(policy: Policy) -> Act:
    """Return the ``Act`` of a learned policy."""
    return lambda task, live: policy(task.features(live))


def play(task: Task, act: Act, labels: Int[Tensor, " batch"], seeds: Int[Tensor, " batch"]) -> Played:
    """Play one episode per row, all rows at once.

    Args:
        task: The task.
        act: Chooses the actions of a step.
        labels: Wanted class of each row.
        seeds: Noise seed of each row.
    """
    live, actions = task.begin(labels, seeds), []
    total = torch.zeros_like(live.value)
    for _ in range(task.engine.sampler.num_steps):
        live = live if getattr(act, "blind", False) else task.look(live)
        actions.append(act(task, live).clamp(-1, 1))
        live, reward, _ = task.act(live, actions[-1])
        total = total + reward
    return Played(live.state, total, torch.stack(actions))


def draw_episodes(
    task: Task, num: int, *, seed: int, first: int = 0
) -> tuple[Int[Tensor, " num"], Int[Tensor, " num"]]:
    """Return classes and noise seeds from the task's split: those of environments ``first`` and up in the range of ``seed``."""
    env_seed = seed * 2**32 + first + torch.arange(num)
    zero = torch.zeros_like(env_seed)
    return task.split.draw(env_seed, zero, num_classes=task.engine.model.num_classes)
