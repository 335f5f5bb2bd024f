"""Proximal policy optimisation, by Stable-Baselines3 over the native vector environment."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from guidegym.envs import GuidanceVectorEnv, Task
from guidegym.envs.sb3 import SB3VecEnv
from guidegym.errors import GuideGymError
from guidegym.guidance import Policy
from guidegym.observation import FEATURES


def train(
    arguments: Mapping[str, Any],
    *,
    timesteps: int = 200_000,
    num_envs: int = 64,
    seed: int = 0,
    on_rollout: Callable[[int], None] | None = None,
) -> Policy:
    """Learn a policy of an environment.

    Reward is not discounted and advantages reach far back: what an early step was worth is known at the end of the chain only.

    Args:
        arguments: Those of the environment; its observation must be ``features``.
        timesteps: Rows stepped.
        num_envs: Rows at a time.
        seed: Seed of the initial weights, the episodes and the exploration.
        on_rollout: Told after each collection how many rows were stepped so far.

    Raises:
        GuideGymError: If the environment shows something else than features.

    Source:
        Schulman et al. 2017.
    """
    native = GuidanceVectorEnv(num_envs, **arguments)
    task = native.episodes.task
    if task.observation != "features":
        raise GuideGymError(f"the environment must show `features`, got observation '{task.observation}'")
    env = VecNormalize(SB3VecEnv(native), gamma=1.0, clip_obs=1e3)
    steps = 2 * task.engine.sampler.num_steps
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=steps,
        batch_size=max(num_envs * steps // 4, 2),
        n_epochs=10,
        learning_rate=lambda left: 1e-3 * left,
        gamma=1.0,
        gae_lambda=0.98,
        policy_kwargs={"net_arch": [32, 32], "log_std_init": -1.2},
        device="cpu",
        seed=seed,
    )
    model.learn(timesteps, callback=_Told(on_rollout) if on_rollout is not None else None)
    return export(model, env, task)


def export(model: PPO, env: VecNormalize, task: Task) -> Policy:
    """Return the mean of the trained actor, with the environment's running moments, as a policy."""
    modules = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    layers = [module for module in modules if isinstance(module, nn.Linear)]
    moments: Any = env.obs_rms

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32)

    return Policy(
        weights=tuple(layer.weight.detach().cpu().clone() for layer in layers),
        biases=tuple(layer.bias.detach().cpu().clone() for layer in layers),
        shift=tensor(moments.mean),
        spread=(tensor(moments.var) + env.epsilon).sqrt(),
        features=FEATURES,
        scale=task.scale,
    )


class _Told(BaseCallback):
    """Tells how far the training is."""

    def __init__(self, on_rollout: Callable[[int], None]) -> None:
        super().__init__()
        self.on_rollout = on_rollout

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.on_rollout(self.num_timesteps)
