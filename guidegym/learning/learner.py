"""The interface of learning agents, and how to load one by name."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from guidegym.envs import Task
from guidegym.errors import GuideGymError
from guidegym.guidance import Policy
from guidegym.registry import find
from guidegym.support.settings import check_seed, check_settings, with_defaults


@runtime_checkable
class Learner(Protocol):
    """An agent that learns in batches; between batches it can be saved, and it resumes as if it had not been interrupted."""

    @property
    def task(self) -> Task:
        """The task to learn."""

    @property
    def timesteps(self) -> int:
        """Environment steps so far, over all rows."""

    def improve(self) -> float:
        """Collect one batch of episodes, learn from it, and return their mean reward."""

    def policy(self) -> Policy:
        """Return the current policy, without exploration or training code."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state for ``load_state_dict``: tensors, numbers, strings, and lists and mappings of them."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from the ``state_dict`` of an equal learner."""


def load_learner(
    where: str, arguments: Mapping[str, Any], *, timesteps: int, seed: int, settings: Mapping[str, Any] | None = None
) -> Learner:
    """Create an agent that is ready to learn.

    Args:
        where: A shipped name, a dotted module, or a path to a Python file, whose function
            ``learner(arguments, *, timesteps, seed, **settings)`` returns a ``Learner``.
        arguments: Arguments of the environment; see ``guidegym.envs.make_task``.
        timesteps: Total environment steps, over which the learning rate decays.
        seed: Seed of the initial weights, the episodes and the exploration.
        settings: Other arguments of the function.

    Raises:
        GuideGymError: If there is no such agent, it does not learn, does not take a setting, or does not return a learner.
    """
    if timesteps < 1:
        raise GuideGymError(f"must be >= 1, got {timesteps}", argument="timesteps")
    check_seed(seed)
    make = find("agent", where)
    if not callable(make):
        raise GuideGymError(f"`learner` of agent '{where}' must be a function, got {type(make).__name__}")
    given = dict(settings or {})
    check_settings(make, given, what=f"agent '{where}'", but=("arguments", "timesteps", "seed"))
    made: object = make(arguments, timesteps=timesteps, seed=seed, **given)
    if not isinstance(made, Learner):
        raise GuideGymError(f"`learner` of agent '{where}' must return a Learner, got {type(made).__name__}")
    return made


def resolved_settings(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's settings, with defaults for those left out."""
    make = find("agent", where)
    return with_defaults(make, settings) if callable(make) else dict(settings)
