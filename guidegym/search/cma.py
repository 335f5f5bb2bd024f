"""CMA-ES whose state is never stored: it is recomputed from the finished trials whenever a trial is asked for.

Optuna's own version unpickles an optimizer from the storage, so that anyone who can write to the storage can run code here;
and it seeds each trial by its number, which changes after an interruption.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from cmaes import CMA
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from guidegym.search.storage import BATCH, complete

Number = FloatDistribution | IntDistribution
SPREAD = 1 / 6
"""Standard deviation of the first generation, as a share of each parameter's range."""


def _ends(distribution: Number) -> tuple[float, float]:
    """Return the ends of a range on its search scale; integer ranges are extended by half a step on both sides."""
    half = (distribution.step or 0) / 2
    ends = distribution.low - half, distribution.high + half
    return (math.log(ends[0]), math.log(ends[1])) if distribution.log else ends


def to_unit(value: float, distribution: Number) -> float:
    """Return the position of a parameter in its range, in [0, 1]."""
    low, high = _ends(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low)


def from_unit(place: float, distribution: Number) -> float:
    """Return the parameter at a position of its range, in [0, 1]; the inverse of ``to_unit`` up to rounding."""
    low, high = _ends(distribution)
    value = low + place * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def evolved(trials: Sequence[FrozenTrial], space: dict[str, Number], *, sign: float, seed: int) -> CMA:
    """Return the optimizer's state after the finished trials.

    A generation is told once it is complete. Other trials that were asked for before the last generation was told
    belong to no open generation and are left out.

    Args:
        trials: Finished trials in the order they were asked for, with all parameters of the space.
        space: The search space.
        sign: 1 if values are minimised, -1 if they are maximised.
        seed: Seed of the next trial.

    Source:
        Hansen 2016, sections 2-4.
    """
    num = len(space)
    optimizer = CMA(mean=np.full(num, 0.5), sigma=SPREAD, bounds=np.tile([0.0, 1.0], (num, 1)), seed=seed)
    told, solutions = 0, list[tuple[NDArray[np.float64], float]]()
    for finished, trial in enumerate(trials, start=1):
        if trial.user_attrs.get(BATCH, finished - 1) < told:
            continue
        place = np.array([to_unit(trial.params[name], distribution) for name, distribution in space.items()])
        solutions.append((place, sign * trial.values[0]))
        if len(solutions) == optimizer.population_size:
            optimizer.tell(solutions)
            told, solutions = finished, []
    return optimizer


class CmaEs(optuna.samplers.BaseSampler):
    """A sampler that proposes numeric parameters by CMA-ES and draws the rest at random.

    Args:
        seed: Seed of one trial.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.independent = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the numeric parameters that every finished trial has, sorted by name."""
        known = intersection_search_space(complete(study))
        return {
            name: known[name] for name in sorted(known) if isinstance(known[name], Number) and not known[name].single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next trial's numeric parameters."""
        space = {name: one for name, one in search_space.items() if isinstance(one, Number)}
        if not space:
            return {}
        sign = 1.0 if study.directions[0] == StudyDirection.MINIMIZE else -1.0
        places = evolved(complete(study), space, sign=sign, seed=self.seed).ask()
        return {name: from_unit(float(place), space[name]) for name, place in zip(space, places, strict=True)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return one parameter, drawn at random."""
        return self.independent.sample_independent(study, trial, param_name, param_distribution)
