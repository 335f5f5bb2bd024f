"""A checker for vector environments, which neither Gymnasium nor Stable-Baselines3 provides."""

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from guidegym.errors import GuideGymError


def check_vector_env(env: VectorEnv[Any, Any, Any], *, steps: int = 50, seed: int = 0) -> None:
    """Step a vector environment with random actions and check that it follows Gymnasium's rules.

    Spaces are batched single spaces; observations lie in them and are separate arrays; rewards and flags are arrays with one
    value per row; equal seeds give equal episodes; ``final_obs`` comes with its mask in mode ``SameStep``; the autoreset mode
    is in the metadata.

    Args:
        env: The open environment; it is reset afterwards.
        steps: Steps to take.
        seed: Seed of the resets and of the actions.

    Raises:
        GuideGymError: At the first violated rule.
    """
    if not isinstance(env, VectorEnv):
        raise GuideGymError(f"`env` must be a gymnasium.vector.VectorEnv, got {type(env).__name__}")
    for name in ("observation_space", "action_space"):
        single = getattr(env, f"single_{name}")
        _require(
            getattr(env, name) == batch_space(single, env.num_envs), f"`{name}` is not the batch of `single_{name}`"
        )
    mode = env.metadata.get("autoreset_mode")
    _require(isinstance(mode, AutoresetMode), f"`metadata['autoreset_mode']` must be an AutoresetMode, got {mode!r}")
    first, again = (_episode(env, mode, steps, seed) for _ in range(2))
    for number, (one, other) in enumerate(zip(first, again, strict=True)):
        _require(_equal(one, other), f"step {number}: the same seed gave another observation, reward or flag")


def _episode(env: VectorEnv[Any, Any, Any], mode: Any, steps: int, seed: int) -> list[Any]:
    """Return everything that the environment returned, after checking it."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    _require(isinstance(info, dict), "`reset` must return an info dictionary")
    said: list[Any] = [_copy(observation)]
    for number in range(steps):
        before, kept = observation, _copy(observation)
        observation, rewards, terminated, truncated, info = env.step(env.action_space.sample())
        _require(_equal(before, kept), f"step {number}: an observation changed after it was returned")
        _require(
            env.observation_space.contains(observation),
            f"step {number}: the observation is outside `observation_space`",
        )
        for name, array, kind in (
            ("rewards", rewards, np.floating),
            ("terminations", terminated, np.bool_),
            ("truncations", truncated, np.bool_),
        ):
            fits = isinstance(array, np.ndarray) and array.shape == (env.num_envs,) and np.issubdtype(array.dtype, kind)
            _require(fits, f"step {number}: `{name}` must be one {kind.__name__} per row, got {array!r:.80}")
        _require(bool(np.isfinite(rewards).all()), f"step {number}: a reward is not finite")
        over = terminated | truncated
        if over.any() and mode == AutoresetMode.SAME_STEP:
            _require(
                "final_obs" in info and bool((info.get("_final_obs") == over).all()),
                f"step {number}: `final_obs` and its mask `_final_obs` must be in info when rows end",
            )
        said.append((_copy(observation), rewards.copy(), terminated.copy(), truncated.copy()))
        if over.any() and mode == AutoresetMode.DISABLED:
            observation, _ = env.reset(options={"reset_mask": over})
            said.append(_copy(observation))
    return said


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise GuideGymError(rule)


def _copy(value: Any) -> Any:
    return {key: array.copy() for key, array in value.items()} if isinstance(value, dict) else np.copy(value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(one, other))
