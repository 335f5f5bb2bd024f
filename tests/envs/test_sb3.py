"""Stable-Baselines3 trains on the bridge, saves, loads and evaluates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from guidegym import GuideGymError
from guidegym.envs import GuidanceVectorEnv
from guidegym.envs.sb3 import SampleExtractor, SB3VecEnv


def _env(num: int = 4, **arguments: Any) -> SB3VecEnv:
    return SB3VecEnv(GuidanceVectorEnv(num, **{"num_steps": 5, "observation": "features", **arguments}))


def test_rows_that_end_tell_their_last_observation_and_rewards_are_writable() -> None:
    env = _env()
    env.seed(3)
    first = env.reset()
    for step in range(5):
        observation, rewards, ended, infos = env.step(np.zeros((4, 1), dtype=np.float32))
        assert bool(ended.all()) == (step == 4)
    assert all(info["terminal_observation"][0] == 1.0 for info in infos)
    assert all(info["TimeLimit.truncated"] is False for info in infos)
    assert isinstance(observation, np.ndarray)
    assert bool((observation[:, 0] == 0).all())
    rewards += 1
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), first)
    assert env.get_attr("num_envs") == [4] * 4
    assert env.env_is_wrapped(VecMonitor) == [False] * 4


@pytest.mark.parametrize("observation", ["features", "full", "sample"])
def test_ppo_learns_saves_loads_and_is_evaluated(observation: str, tmp_path: Path) -> None:
    train = VecMonitor(_env(8, observation=observation))
    policy = "MultiInputPolicy" if observation == "full" else "MlpPolicy"
    extractor = {} if observation == "features" else {"features_extractor_class": SampleExtractor}
    model = PPO(policy, train, n_steps=10, batch_size=40, gamma=1.0, policy_kwargs=extractor, device="cpu", seed=0)
    callback = EvalCallback(VecMonitor(_env(observation=observation, split="test")), eval_freq=10, verbose=0)
    model.learn(160, callback=callback)
    assert -20 <= callback.last_mean_reward <= 0
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    env = VecMonitor(_env(observation=observation, split="test"))
    env.seed(0)
    mean, spread = evaluate_policy(model, env, n_eval_episodes=8)
    env.seed(0)
    again = evaluate_policy(loaded, env, n_eval_episodes=8)
    np.testing.assert_allclose(np.array(again), np.array([mean, spread]), rtol=1e-5)


@pytest.mark.parametrize("kind", [PPO, SAC, ARS])
def test_every_library_agent_learns_saves_loads_and_is_evaluated_on_normalised_features(
    kind: Any, tmp_path: Path
) -> None:
    settings: dict[Any, dict[str, Any]] = {
        PPO: {"n_steps": 10, "batch_size": 20},
        SAC: {"learning_starts": 10},
        ARS: {"n_delta": 2},
    }
    test = VecNormalize(VecMonitor(_env(2, split="test")), training=False, norm_reward=False)
    callback = EvalCallback(test, eval_freq=10, n_eval_episodes=2, verbose=0)
    model = kind("MlpPolicy", VecNormalize(VecMonitor(_env(2))), device="cpu", seed=0, **settings[kind])
    model.learn(40, callback=callback)
    assert model.num_timesteps >= 40
    assert -20 <= callback.last_mean_reward <= 0
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", device="cpu")
    test.seed(0)
    told = evaluate_policy(model, test, n_eval_episodes=4)
    test.seed(0)
    np.testing.assert_allclose(evaluate_policy(loaded, test, n_eval_episodes=4), told, rtol=1e-5)


def test_the_extractor_sees_images_the_timestep_and_the_class() -> None:
    import torch

    env = _env(2, testbed="fashion", observation="full", num_steps=2)
    extractor = SampleExtractor(env.observation_space, width=32)
    from stable_baselines3.common.preprocessing import preprocess_obs

    seen = {key: torch.as_tensor(value) for key, value in env.reset().items()}
    features = extractor(preprocess_obs(seen, env.observation_space))
    assert features.shape == (2, 32 + 10 + 10 + 1) == (2, extractor.features_dim)


def test_another_autoreset_mode_is_refused() -> None:
    with pytest.raises(GuideGymError, match="`env` must be in autoreset mode SameStep, got NextStep"):
        SB3VecEnv(GuidanceVectorEnv(2, autoreset_mode="NextStep"))
