"""The same action at every step: plain guidance."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guidegym.envs import Rollout, Task
from guidegym.support.settings import plain_fields


@dataclass(frozen=True)
class ConstantAgent:
    """An agent that uses one weight throughout.

    Args:
        weight: The guidance weight, in 0 .. the task's largest.
        rate: The rate of the target, if the task has one.
    """

    weight: float
    rate: float = 0.0

    blind: ClassVar[bool] = True
    """It does not observe the trajectory, and saves the cost of observing."""

    def __post_init__(self) -> None:
        plain_fields(self)

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"constant {self.weight:.3g}" + (f", rate {self.rate:.3g}" if self.rate else "")

    def __call__(self, task: Task, live: Rollout) -> Tensor:
        """Return the action of each row."""
        parts = [2 * self.weight / task.scale.max_weight - 1]
        if task.scale.max_rate is not None:
            parts.append(2 * self.rate / task.scale.max_rate - 1)
        return task.padded(torch.tensor([parts], device=live.value.device)).expand(len(live.value), -1)
