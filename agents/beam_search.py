"""Beam search over candidate weights, by forking the trajectories: whole episodes, keeping the best few branches."""

import torch
from guidegym.agents.greedy import branch, candidates
from torch import Tensor

from guidegym.core.state import fork
from guidegym.envs import Rollout, Task
from guidegym.envs.play import Played


def beam_search(task: Task, labels: Tensor, seeds: Tensor, *, width: int = 4, count: int = 5) -> Played:
    """Try ``count`` weights in each branch, keep the ``width`` best branches of each row, and return the best at the end.

    The state counts only the evaluations of the kept branch; the search itself costs ``width`` times as much.
    """
    options, rows = candidates(task, count), len(labels)
    live, kept = task.begin(labels, seeds), 1
    history = torch.zeros(0, rows, task.action_size, device=live.value.device)
    for _ in range(task.engine.sampler.num_steps):
        after, actions, value = branch(task, task.look(live), options, kept=kept)
        best = value.reshape(rows, -1).topk(min(width, kept * count), dim=1).indices
        chosen = (best + torch.arange(rows, device=best.device)[:, None] * kept * count).flatten()
        history = torch.cat([history[:, chosen // count], actions[chosen][None]])
        live, kept = Rollout(fork(after.state, chosen), after.value[chosen]), best.shape[1]
        value = value[chosen]
    first = value.reshape(rows, kept).argmax(dim=1) + torch.arange(rows, device=value.device) * kept
    return Played(fork(live.state, first), value[first], history[:, first])
