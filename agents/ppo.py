"""Proximal policy optimisation, by Stable-Baselines3 over the native vector environment."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from guidegym.learning.stable_baselines import SB3Learner
from guidegym.support.settings import check_range


def learner(
    arguments: Mapping[str, Any],
    *,
    timesteps: int,
    seed: int,
    num_envs: int = 512,
    learning_rate: float = 1e-3,
    spread: float = 0.5,
    hidden: int = 32,
) -> SB3Learner:
    """Make the agent: one chain of every row a batch.

    Reward is not discounted: what an early step was worth is known at the end of the chain only.

    Args:
        arguments: Those of the environment; its observation must be ``features``.
        timesteps: Rows stepped in all.
        seed: Seed of the initial weights, the episodes and the exploration.
        num_envs: Rows at a time.
        learning_rate: Of Adam at the start, falling to nothing.
        spread: Standard deviation of the exploration at the start.
        hidden: Width of the two hidden layers.

    Raises:
        GuideGymError: If the environment shows something else than features, or a number is out of range.

    Source:
        Schulman et al. 2017.
    """
    for name, value in (("num_envs", num_envs), ("hidden", hidden)):
        check_range(name, value, least=1)
    check_range("learning_rate", learning_rate, above=0)
    check_range("spread", spread, above=0)

    def make(env: VecNormalize, left: Callable[[], float]) -> PPO:
        steps = env.get_attr("episodes")[0].task.engine.sampler.num_steps
        return PPO(
            "MlpPolicy",
            env,
            n_steps=steps,
            batch_size=max(num_envs * steps // 4, 2),
            n_epochs=10,
            learning_rate=lambda _: learning_rate * max(left(), 0.02),
            gamma=1.0,
            gae_lambda=0.95,
            policy_kwargs={"net_arch": [hidden, hidden], "log_std_init": math.log(spread)},
            device="cpu",
            seed=seed,
        )

    return SB3Learner(make, arguments, timesteps=timesteps, num_envs=num_envs)
