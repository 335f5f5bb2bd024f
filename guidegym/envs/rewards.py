"""Rewards: objectives as per-row rewards of an environment, and how they are spread over the chain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.objectives import Finished, Objective, find_objective
from guidegym.registry import names
from guidegym.support.settings import coerce, plain_fields

FORMS = ("terminal", "difference")

Reward = str | Mapping[str, float] | Objective | Callable[[Finished], Tensor]
"""An objective or its name, weights by objective name, or a function of finished samples to maximise."""


@dataclass(frozen=True)
class RewardMix:
    """A weighted sum of objectives, at the end of the chain or spread over it.

    Args:
        terms: Objectives with their weights, each > 0.
        form: ``terminal`` gives the value of the finished sample at the last step; ``difference`` gives at each step the
            change in the value of the clean estimate, which adds up to the same.
        evaluation_cost: Cost subtracted per network evaluation of the row, forward or backward, >= 0.

    Raises:
        GuideGymError: If there are no terms, or a number is out of range.
    """

    terms: tuple[tuple[Objective, float], ...]
    form: str = "terminal"
    evaluation_cost: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        if not self.terms:
            raise GuideGymError(f"must be one of {', '.join(names('objective'))}, got none", argument="reward")
        if any(not 0 < weight < float("inf") for _, weight in self.terms):
            given = {objective.name: weight for objective, weight in self.terms}
            raise GuideGymError(f"the weights of `reward` must be > 0 and finite, got {given}")
        if self.form not in FORMS:
            raise GuideGymError(f"`reward_form` must be one of {', '.join(FORMS)}, got {self.form!r}")
        if not 0 <= self.evaluation_cost < float("inf"):
            raise GuideGymError(f"`evaluation_cost` must be >= 0 and finite, got {self.evaluation_cost}")

    @property
    def floor(self) -> float:
        """The lowest value of a sample, assigned to failed rows."""
        return sum(weight * objective.least_reward for objective, weight in self.terms)

    def value(self, finished: Finished, *, spread: bool = False) -> Float[Tensor, " batch"]:
        """Return the reward value of each sample.

        Args:
            finished: Clean samples.
            spread: Whether set-level numbers are distributed by the samples' influence: values with the same mean, whose
                spread over rows shows how well that mean is known.
        """
        total = torch.zeros(len(finished.x), device=finished.x.device)
        for objective, weight in self.terms:
            total = total + weight * objective.reward(finished, spread=spread)
        return total


def reward_mix(reward: Reward, *, form: str = "terminal", evaluation_cost: float = 0.0) -> RewardMix:
    """Return the mix described by a reward or by weights by name.

    Raises:
        GuideGymError: If a name is unknown or a weight is not a finite number.
    """
    weights = reward if isinstance(reward, Mapping) else {}
    for name, weight in weights.items():
        coerce(name, weight, float)
    terms = (
        tuple((find_objective(name), float(weight)) for name, weight in weights.items())
        if isinstance(reward, Mapping)
        else ((find_objective(reward), 1.0),)
    )
    return RewardMix(terms, form=form, evaluation_cost=evaluation_cost)
