"""Random actions: the baseline that every agent must beat."""

from typing import ClassVar

import torch
from torch import Tensor

from guidegym.envs import Rollout, Task


class RandomAgent:
    """An agent that draws each action uniformly from [-1, 1]."""

    blind: ClassVar[bool] = True
    """It does not observe the trajectory, and saves the cost of observing."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, task: Task, live: Rollout) -> Tensor:
        """Return the action of each row."""
        drawn = torch.rand(len(live.value), task.action_size, generator=self.generator)
        return (2 * drawn - 1).to(live.value.device)
