"""Rewards: objectives as what an environment gives, row by row, and how that is spread over the chain."""

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
"""An objective by its name or itself, weights by name, or a function of finished samples that is maximised."""


@dataclass(frozen=True)
class RewardMix:
    """A weighted sum of objectives, at the end of the chain or spread over it.

    Args:
        terms: Objectives with their weights, each > 0.
        form: ``terminal`` gives the value of the finished sample at the last step; ``difference`` gives at each step what
            the clean estimate has gained since the last one, which adds up to the same.
        evaluation_cost: Taken off for each network evaluation of the row, forward and backward alike, >= 0.

    Raises:
        GuideGymError: If there is no term, or a number is out of range.
    """

    terms: tuple[tuple[Objective, float], ...]
    form: str = "terminal"
    evaluation_cost: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        if not self.terms:
            raise GuideGymError(f"must be of {', '.join(names('objective'))}, got none", argument="reward")
        if any(not 0 < weight < float("inf") for _, weight in self.terms):
            given = {objective.name: weight for objective, weight in self.terms}
            raise GuideGymError(f"the weights of `reward` must be > 0 and finite, got {given}")
        if self.form not in FORMS:
            raise GuideGymError(f"`reward_form` must be of {', '.join(FORMS)}, got {self.form!r}")
        if not 0 <= self.evaluation_cost < float("inf"):
            raise GuideGymError(f"`evaluation_cost` must be >= 0 and finite, got {self.evaluation_cost}")

    @property
    def floor(self) -> float:
        """The least a sample can be worth, which failed rows get."""
        return sum(weight * objective.least_reward for objective, weight in self.terms)

    def value(self, finished: Finished, *, spread: bool = False) -> Float[Tensor, " batch"]:
        """Return the reward value of each sample.

        Args:
            finished: Clean samples.
            spread: Whether numbers of the whole set are spread as the samples influence them: values with the same mean, whose
                spread over rows tells how well that mean is known.
        """
        total = torch.zeros(len(finished.x), device=finished.x.device)
        for objective, weight in self.terms:
            total = total + weight * objective.reward(finished, spread=spread)
        return total


def reward_mix(reward: Reward, *, form: str = "terminal", evaluation_cost: float = 0.0) -> RewardMix:
    """Return the mix that a reward, or weights by name, describe.

    Raises:
        GuideGymError: If a name is unknown or a weight is no finite number.
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
