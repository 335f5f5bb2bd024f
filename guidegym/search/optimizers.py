"""Optimizers, which propose trials: Optuna's samplers, called optimizers here.

They are reseeded for every trial, so that a resumed search proposes the same trials as an uninterrupted one.
"""

import hashlib
import warnings

import optuna

from guidegym.errors import GuideGymError
from guidegym.search.cma import CmaEs

OPTIMIZERS = ("tpe", "gp", "cmaes", "random")


def check_optimizer(name: str, num_objectives: int) -> None:
    """Check the name of an optimizer.

    Raises:
        GuideGymError: If there is none of that name, or it is CMA-ES with more than one objective, which is unsupported.
    """
    if name not in OPTIMIZERS:
        raise GuideGymError(f"must be one of {', '.join(OPTIMIZERS)}, got {name!r}", argument="optimizer")
    if name == "cmaes" and num_objectives > 1:
        raise GuideGymError(
            "must be tpe, gp or random for a Pareto search, got 'cmaes', which takes one objective",
            argument="optimizer",
        )


def make_optimizer(name: str, *, seed: int, num_complete: int, position: int) -> optuna.samplers.BaseSampler:
    """Return the optimizer of the trial at ``position`` in the batch that begins after ``num_complete`` trials.

    Optuna's samplers draw from a stream that starts at their construction; seeding by the number of finished trials makes each
    proposal a function of the storage alone.
    """
    digest = hashlib.sha256(f"{name}:{seed}:{num_complete}:{position}".encode()).digest()
    trial_seed = int.from_bytes(digest[:4], "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=trial_seed, multivariate=True, constant_liar=True)
        if name == "gp":
            # Common random numbers make a trial's score a function of its parameters.
            return optuna.samplers.GPSampler(seed=trial_seed, deterministic_objective=True)
        if name == "cmaes":
            return CmaEs(trial_seed)
        return optuna.samplers.RandomSampler(seed=trial_seed)
