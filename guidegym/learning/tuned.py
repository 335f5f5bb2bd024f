"""Tuned settings of Stable-Baselines3's algorithms for these environments.

Our agents use them, and they can be used on their own: ``PPO("MlpPolicy", env, **tuned.ppo(num_steps=20))``. Rewards are
not discounted: the value of an early step is known only at the end of the chain.
"""

import math
from typing import Any

from guidegym.support.settings import check_range


def _check(settings: dict[str, float], *, above: tuple[str, ...] = ()) -> None:
    """Check that numbers are at least 1, or larger than 0 for those in ``above``."""
    for name, value in settings.items():
        if name in above:
            check_range(name, value, above=0)
        else:
            check_range(name, value, least=1)


def ppo(
    *, num_steps: int, num_envs: int = 512, learning_rate: float = 1e-3, spread: float = 0.5, hidden: int = 32
) -> dict[str, Any]:
    """Proximal policy optimisation: one chain of every row per batch.

    Args:
        num_steps: Steps of the chain.
        num_envs: Number of parallel rows.
        learning_rate: Learning rate of Adam; our agent decays it to a fiftieth.
        spread: Initial standard deviation of the exploration.
        hidden: Width of the two hidden layers.

    Raises:
        GuideGymError: If a number is out of range.

    Source:
        Schulman et al. 2017.
    """
    _check(locals(), above=("learning_rate", "spread"))
    return {
        "n_steps": num_steps,
        "batch_size": max(num_envs * num_steps // 4, 2),
        "n_epochs": 10,
        "learning_rate": learning_rate,
        "gamma": 1.0,
        "gae_lambda": 0.95,
        "policy_kwargs": {"net_arch": [hidden, hidden], "log_std_init": math.log(spread)},
    }


def sac(
    *,
    num_steps: int,
    num_envs: int = 32,
    learning_rate: float = 1e-3,
    gradient_steps: int = 40,
    batch_size: int = 256,
    warmup: int = 2,
    hidden: int = 64,
) -> dict[str, Any]:
    """Soft actor-critic, off-policy, for expensive networks: one chain of every row, then gradient steps on all data so far.

    Args:
        num_steps: Steps of the chain.
        num_envs: Number of parallel rows.
        learning_rate: Learning rate of Adam; our agent decays it to a fiftieth.
        gradient_steps: Updates after each chain.
        batch_size: Environment steps per update.
        warmup: Chains of random actions before the first update.
        hidden: Width of the two hidden layers.

    Raises:
        GuideGymError: If a number is out of range.

    Source:
        Haarnoja et al. 2018.
    """
    _check(locals(), above=("learning_rate",))
    return {
        "train_freq": (num_steps, "step"),
        "gradient_steps": gradient_steps,
        "learning_starts": warmup * num_steps * num_envs,
        "batch_size": batch_size,
        "buffer_size": max(200_000, 2 * num_steps * num_envs),
        "learning_rate": learning_rate,
        "gamma": 1.0,
        "tau": 0.01,
        "policy_kwargs": {"net_arch": [hidden, hidden]},
    }


def ars(
    *,
    num_steps: int,
    num_envs: int = 64,
    directions: int = 8,
    best: int = 4,
    learning_rate: float = 0.05,
    spread: float = 0.1,
) -> dict[str, Any]:
    """Augmented random search: a linear policy without gradients; one chain of every row per direction and its opposite.

    Args:
        num_steps: Steps of the chain.
        num_envs: Rows per candidate.
        directions: Directions tried per update.
        best: Number of directions used in the update.
        learning_rate: Step length; our agent decays it to a fiftieth.
        spread: Distance of the candidates from the policy.

    Raises:
        GuideGymError: If a number is out of range.

    Source:
        Mania et al. 2018.
    """
    _check(locals(), above=("learning_rate", "spread"))
    check_range("best", best, least=1, most=directions)
    return {
        "n_delta": directions,
        "n_top": best,
        "learning_rate": learning_rate,
        "delta_std": spread,
        "n_eval_episodes": num_envs,
        "policy_kwargs": {"with_bias": True},
    }
