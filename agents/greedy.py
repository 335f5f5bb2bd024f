"""One-step greedy search over candidate weights, by forking the trajectories."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guidegym.core.state import fork
from guidegym.envs import Rollout, Task
from guidegym.support.settings import plain_fields

ROWS = 128
"""Trajectories whose candidates are scored together: the cost of set-level measures grows quadratically."""


def candidates(task: Task, count: int) -> Tensor:
    """Return ``count`` weights from zero to the largest as actions, finer at small weights; a rate is at its maximum."""
    weight = torch.linspace(0, 1, count).square() * 2 - 1
    columns = [weight] if task.scale.max_rate is None else [weight, torch.ones(count)]
    return task.padded(torch.stack(columns, dim=1).to(task.engine.model.device))


def some_rows(live: Rollout, rows: Tensor) -> Rollout:
    """Return some rows of trajectories, with their predictions."""
    told = None if live.prediction is None else live.prediction.of_rows(rows)
    return Rollout(fork(live.state, rows), live.value[rows], told)


def branch(task: Task, live: Rollout, options: Tensor, *, kept: int = 1) -> tuple[Rollout, Tensor, Tensor]:
    """Take every option in every row; return rollout, actions and values. Row ``i`` becomes rows from ``i * len(options)``.

    Every ``kept`` rows are branches of one trajectory.
    """
    rows = torch.arange(len(live.value), device=live.value.device).repeat_interleave(len(options))
    branches = replace(some_rows(live, rows), group=rows // kept)
    actions = options.repeat(len(live.value), 1)
    after, _, _ = task.act(branches, actions)
    return after, actions, task.value(after.state, rows // kept)


@dataclass(frozen=True)
class GreedyAgent:
    """An agent that takes the candidate weight with the highest value of the clean estimate after one step.

    Denoiser and guide are evaluated once per step, whatever the number of candidates, which differ only in the use of the
    prediction. The reward's judge is evaluated on each of them.

    Args:
        count: Number of candidate weights, >= 2.
    """

    count: int = 9

    def __post_init__(self) -> None:
        plain_fields(self)

    @property
    def evaluations_per_step(self) -> int:
        """Network evaluations per row and step that the state does not count: the judge's, for each candidate."""
        return self.count

    def __call__(self, task: Task, live: Rollout) -> Tensor:
        """Return the action of each row."""
        options = candidates(task, self.count)
        chosen = []
        for rows in torch.arange(len(live.value), device=live.value.device).split(ROWS):
            _, _, value = branch(task, some_rows(live, rows), options)
            chosen.append(value.reshape(-1, self.count).argmax(dim=1))
        return options[torch.cat(chosen)]
