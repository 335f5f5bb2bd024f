"""Soft actor-critic, by Stable-Baselines3 over the native vector environment: off-policy, for dear networks."""

from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize

from guidegym.learning.stable_baselines import SB3Learner
from guidegym.support.settings import check_range


def learner(
    arguments: Mapping[str, Any],
    *,
    timesteps: int,
    seed: int,
    num_envs: int = 32,
    learning_rate: float = 1e-3,
    gradient_steps: int = 40,
    batch_size: int = 256,
    warmup: int = 2,
    hidden: int = 64,
) -> SB3Learner:
    """Make the agent: one chain of every row, then some gradient steps on what was stepped so far.

    Args:
        arguments: Those of the environment; its observation must be ``features``.
        timesteps: Rows stepped in all.
        seed: Seed of the initial weights, the episodes and the exploration.
        num_envs: Rows at a time.
        learning_rate: Of Adam.
        gradient_steps: Updates after each chain.
        batch_size: Steps an update looks at.
        warmup: Chains of random actions before the first update.
        hidden: Width of the two hidden layers.

    Raises:
        GuideGymError: If the environment shows something else than features, or a number is out of range.

    Source:
        Haarnoja et al. 2018.
    """
    for name, value in (
        ("num_envs", num_envs),
        ("gradient_steps", gradient_steps),
        ("batch_size", batch_size),
        ("warmup", warmup),
        ("hidden", hidden),
    ):
        check_range(name, value, least=1)
    check_range("learning_rate", learning_rate, above=0)

    def make(env: VecNormalize, left: Callable[[], float]) -> SAC:
        steps = env.get_attr("episodes")[0].task.engine.sampler.num_steps
        return SAC(
            "MlpPolicy",
            env,
            train_freq=(steps, "step"),
            gradient_steps=gradient_steps,
            learning_starts=warmup * steps * num_envs,
            batch_size=batch_size,
            buffer_size=min(max(timesteps, 2 * steps * num_envs), 200_000),
            learning_rate=lambda _: learning_rate * max(left(), 0.02),
            gamma=1.0,
            tau=0.01,
            policy_kwargs={"net_arch": [hidden, hidden]},
            device="cpu",
            seed=seed,
        )

    return SB3Learner(make, arguments, timesteps=timesteps, num_envs=num_envs)
