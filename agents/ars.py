"""Augmented random search, by sb3-contrib over the native vector environment: a linear policy, no gradients."""

from collections.abc import Callable, Mapping
from typing import Any

from sb3_contrib import ARS
from stable_baselines3.common.vec_env import VecNormalize

from guidegym.learning.stable_baselines import SB3Learner
from guidegym.support.settings import check_range


def learner(
    arguments: Mapping[str, Any],
    *,
    timesteps: int,
    seed: int,
    num_envs: int = 64,
    directions: int = 8,
    best: int = 4,
    learning_rate: float = 0.05,
    spread: float = 0.1,
) -> SB3Learner:
    """Make the agent: a batch steps one chain of every row for each direction and its opposite.

    Args:
        arguments: Those of the environment; its observation must be ``features``.
        timesteps: Rows stepped in all.
        seed: Seed of the episodes and of the directions.
        num_envs: Rows that try each candidate.
        directions: Directions an update tries.
        best: How many of them it follows.
        learning_rate: Length of a step at the start, falling to nothing.
        spread: How far the candidates are from the policy.

    Raises:
        GuideGymError: If the environment shows something else than features, or a number is out of range.

    Source:
        Mania et al. 2018.
    """
    for name, value in (("num_envs", num_envs), ("directions", directions)):
        check_range(name, value, least=1)
    check_range("best", best, least=1, most=directions)
    check_range("learning_rate", learning_rate, above=0)
    check_range("spread", spread, above=0)

    def make(env: VecNormalize, left: Callable[[], float]) -> ARS:
        return ARS(
            "LinearPolicy",
            env,
            n_delta=directions,
            n_top=best,
            learning_rate=lambda _: learning_rate * max(left(), 0.02),
            delta_std=spread,
            n_eval_episodes=num_envs,
            policy_kwargs={"with_bias": True},
            device="cpu",
            seed=seed,
        )

    return SB3Learner(make, arguments, timesteps=timesteps, num_envs=num_envs, norm_reward=False)
