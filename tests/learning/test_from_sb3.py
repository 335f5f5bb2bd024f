"""What a model of Stable-Baselines3 learned, as a policy of ours."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO, TD3
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from guidegym import Guidance, GuideGymError, Likelihood, Policy
from guidegym.core.sampling import sample
from guidegym.envs import GuidanceVectorEnv, make_task
from guidegym.envs.play import draw_episodes, follow, play
from guidegym.envs.sb3 import SB3VecEnv

ARGUMENTS: dict[str, Any] = {"num_steps": 4, "max_weight": 4.0, "reward": "confidence", "observation": "features"}


def _env(**changes: Any) -> VecEnv:
    return SB3VecEnv(GuidanceVectorEnv(4, **{**ARGUMENTS, **changes}))


@pytest.mark.parametrize("kind", [PPO, A2C, TD3])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_policy_acts_as_the_model_and_replays_in_plain_sampling(kind: Any, normalised: bool) -> None:
    env = VecNormalize(_env(), clip_obs=1e3) if normalised else _env()
    further = {"learning_starts": 4} if kind is TD3 else {"n_steps": 4, **({"batch_size": 16} if kind is PPO else {})}
    policy_kwargs = {"activation_fn": torch.nn.ReLU} if kind is A2C else {}
    model = kind("MlpPolicy", env, seed=0, device="cpu", policy_kwargs=policy_kwargs, **further).learn(32)
    policy = Policy.from_sb3(model)
    if isinstance(env, VecNormalize):
        env.training = False
    seen = env.reset()
    wanted, _ = model.predict(seen, deterministic=True)
    raw = env.get_original_obs() if isinstance(env, VecNormalize) else seen
    got = policy(torch.from_numpy(np.asarray(raw)))
    np.testing.assert_allclose(got.numpy(), np.clip(wanted, -1, 1), rtol=1e-4, atol=1e-5)
    task = make_task(**ARGUMENTS)
    labels, seeds = draw_episodes(task, 6, seed=1)
    engine = task.engine
    guidance = Guidance(Likelihood("exact"), policy=policy)
    samples = sample(engine.model, guidance, labels=labels, seeds=seeds, sampler=engine.sampler)
    torch.testing.assert_close(samples.x, play(task, follow(policy), labels, seeds).state.x)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(GuideGymError, match="must have observation 'features', got 'sample'"):
        Policy.from_sb3(PPO("MlpPolicy", _env(observation="sample"), n_steps=4, batch_size=4))
    with pytest.raises(GuideGymError, match="`model` must have a guidance environment"):
        Policy.from_sb3(PPO("MlpPolicy", "Pendulum-v1", n_steps=4, batch_size=4))
    with pytest.raises(GuideGymError, match="must have Tanh or ReLU layers, got ELU"):
        Policy.from_sb3(
            PPO("MlpPolicy", _env(), n_steps=4, batch_size=4, policy_kwargs={"activation_fn": torch.nn.ELU})
        )
