"""Gymnasium's vector wrappers around the vector environment, in the autoreset mode that its page names for each."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import gymnasium.wrappers.vector as wrappers
import numpy as np
import pytest
from gymnasium.vector import VectorEnv

import guidegym  # noqa: F401 - registers the environments

Wrap = Callable[[VectorEnv[Any, Any, Any]], VectorEnv[Any, Any, Any]]
OF_OBSERVATIONS: dict[str, Wrap] = {
    "normalize": wrappers.NormalizeObservation,
    "flatten": wrappers.FlattenObservation,
    "transform": lambda env: wrappers.TransformObservation(env, lambda seen: seen * 2),
    "rescale": lambda env: wrappers.RescaleObservation(env, min_obs=np.float32(-1.0), max_obs=np.float32(1.0)),
    "dtype": lambda env: wrappers.DtypeObservation(env, np.float64),
    "reshape": lambda env: wrappers.ReshapeObservation(env, (10, 1)),
}
OF_THE_REST: dict[str, Wrap] = {
    "normalize_reward": wrappers.NormalizeReward,
    "clip_reward": lambda env: wrappers.ClipReward(env, -1, 1),
    "transform_reward": lambda env: wrappers.TransformReward(env, lambda reward: reward * 2),
    "clip_action": wrappers.ClipAction,
    "rescale_action": lambda env: wrappers.RescaleAction(env, -2.0, 2.0),
    "statistics": wrappers.RecordEpisodeStatistics,
    "list_of_infos": wrappers.DictInfoToList,
}
pytestmark = pytest.mark.filterwarnings("ignore")


def _make(mode: str) -> VectorEnv[Any, Any, Any]:
    return gym.make_vec(
        "guidegym/GuidanceWeight-v0",
        num_envs=3,
        vectorization_mode="vector_entry_point",
        observation="features",
        num_steps=4,
        autoreset_mode=mode,
    )


def _episodes(env: VectorEnv[Any, Any, Any]) -> int:
    """Play two episodes of each row and return how many ended."""
    env.reset(seed=0)
    ended = 0
    for _ in range(10):
        seen, _, terminated, _, _ = env.step(env.action_space.sample())
        assert seen.shape[0] == 3
        ended += int(terminated.sum())
    return ended


@pytest.mark.parametrize("name", OF_OBSERVATIONS)
def test_wrappers_of_observations_want_the_next_step_mode(name: str) -> None:
    assert _episodes(OF_OBSERVATIONS[name](_make("NextStep"))) == 6
    with pytest.raises(ValueError, match="NEXT_STEP"):
        _episodes(OF_OBSERVATIONS[name](_make("SameStep")))


@pytest.mark.parametrize("name", OF_THE_REST)
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_all_other_wrappers_take_both_modes(name: str, mode: str) -> None:
    assert _episodes(OF_THE_REST[name](_make(mode))) == 6
