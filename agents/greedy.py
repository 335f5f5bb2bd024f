"""One-step greedy and beam search over candidate weights, by forking the trajectories."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guidegym.engine import Prediction
from guidegym.envs import Live, Task
from guidegym.envs.play import Played
from guidegym.state import fork

ROWS = 128
"""Trajectories whose candidates are scored together: the cost of a measure of sets grows with the square."""


def candidates(task: Task, count: int) -> Tensor:
    """Return ``count`` weights from none to the largest as actions, finer where they are small; a rate is at its largest."""
    weight = torch.linspace(0, 1, count).square() * 2 - 1
    columns = [weight] if task.scale.max_rate is None else [weight, torch.ones(count)]
    return torch.stack(columns, dim=1).to(task.engine.testbed.device)


def _some(live: Live, rows: Tensor) -> Live:
    """Return some rows of trajectories, with what the networks said of them."""
    told = live.prediction
    if told is not None:
        told = Prediction(
            told.eps[rows],
            None if told.gradient is None else told.gradient[rows],
            None if told.logits is None else told.logits[rows],
            clean_logits=None if told.clean_logits is None else told.clean_logits[rows],
        )
    return Live(fork(live.state, rows), live.worth[rows], told)


def _branch(task: Task, live: Live, options: Tensor, *, kept: int = 1) -> tuple[Live, Tensor, Tensor]:
    """Take every option in every row: row ``i`` becomes rows ``i * len(options)`` and on. Return actions, too, and worths.

    Every ``kept`` rows are branches of one trajectory.
    """
    rows = torch.arange(len(live.worth), device=live.worth.device).repeat_interleave(len(options))
    branches = replace(_some(live, rows), group=rows // kept)
    actions = options.repeat(len(live.worth), 1)
    after, _, _ = task.act(branches, actions)
    return after, actions, task.worth(after.state, rows // kept)


@dataclass(frozen=True)
class GreedyAgent:
    """Takes the candidate weight whose clean estimate is worth most one step on.

    Denoiser and guide are asked once a step, whatever the number of candidates: they differ only in what is done with the
    answer. The reward's judge is asked about each of them.

    Args:
        count: Number of candidate weights, >= 2.
    """

    count: int = 9

    @property
    def evaluations_per_step(self) -> int:
        """Network evaluations of a row and step that its state does not count: the judge's of each candidate."""
        return self.count

    def __call__(self, task: Task, live: Live) -> Tensor:
        """Return the action of each row."""
        options = candidates(task, self.count)
        chosen = []
        for rows in torch.arange(len(live.worth), device=live.worth.device).split(ROWS):
            _, _, worth = _branch(task, _some(live, rows), options)
            chosen.append(worth.reshape(-1, self.count).argmax(dim=1))
        return options[torch.cat(chosen)]


def beam_search(task: Task, labels: Tensor, seeds: Tensor, *, width: int = 4, count: int = 5) -> Played:
    """Keep the ``width`` most promising branches of each row, and return the best at the end.

    The state's count of evaluations is that of the branch which was kept; the search itself cost ``width`` times as much.

    Args:
        task: The task.
        labels: Wanted class of each row.
        seeds: Noise seed of each row.
        width: Branches kept of each row.
        count: Candidate weights a branch.
    """
    options, rows = candidates(task, count), len(labels)
    live, kept = task.begin(labels, seeds), 1
    history = torch.zeros(0, rows, task.scale.size, device=live.worth.device)
    for _ in range(task.engine.sampler.num_steps):
        after, actions, worth = _branch(task, task.look(live), options, kept=kept)
        best = worth.reshape(rows, -1).topk(min(width, kept * count), dim=1).indices
        chosen = (best + torch.arange(rows, device=best.device)[:, None] * kept * count).flatten()
        history = torch.cat([history[:, chosen // count], actions[chosen][None]])
        live, kept = Live(fork(after.state, chosen), after.worth[chosen]), best.shape[1]
        worth = worth[chosen]
    first = worth.reshape(rows, kept).argmax(dim=1) + torch.arange(rows, device=worth.device) * kept
    return Played(fork(live.state, first), worth[first], history[:, first])
