"""Agents of Stable-Baselines3 as learners: a batch at a time over the native vector environment, saved without pickle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch import Tensor, nn

from guidegym.envs import GuidanceVectorEnv, Task
from guidegym.envs.sb3 import SB3VecEnv
from guidegym.guidance import Policy
from guidegym.observation import FEATURES

REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True)
class Kind:
    """What one agent of Stable-Baselines3 is made of.

    Args:
        make: ``(environment, share of the training that is left) -> model``.
        layers: The model's modules from the normalised features to the action's mean, in order.
        activation: The function between them: ``tanh`` or ``relu``.
        squash: How their output gets into [-1, 1]: ``clip`` or ``tanh``.
        extras: Attributes of the model beyond its parameters that learning goes on from.
        norm_reward: Whether rewards are divided by the running spread of their sums.
    """

    make: Callable[[VecNormalize, Callable[[], float]], BaseAlgorithm]
    layers: Callable[[Any], Sequence[nn.Module]]
    activation: str
    squash: str
    extras: tuple[str, ...] = ()
    norm_reward: bool = True


class SB3Learner:
    """A learner around a model of Stable-Baselines3.

    Observations are normalised by running moments, which the exported policy takes with it.

    Args:
        kind: Which model.
        arguments: Those of the environment; its observation must be ``features``.
        timesteps: Rows stepped in all.
        num_envs: Rows at a time.

    Raises:
        GuideGymError: If the environment shows something else than features.
    """

    def __init__(self, kind: Kind, arguments: Mapping[str, Any], *, timesteps: int, num_envs: int) -> None:
        self.kind, self.total = kind, timesteps
        self.native = GuidanceVectorEnv(num_envs, **arguments)
        self.task.check_features()
        self.bridge = SB3VecEnv(self.native)
        self.env = VecNormalize(VecMonitor(self.bridge), gamma=1.0, clip_obs=1e3, norm_reward=kind.norm_reward)
        outside = _random_state()
        self.model = kind.make(self.env, lambda: max(1 - self.timesteps / timesteps, 0.0))
        self.random = _random_state()
        _set_random_state(outside)
        self.model.set_logger(Logger(folder=None, output_formats=[]))

    @property
    def task(self) -> Task:
        """The task it learns."""
        return self.native.episodes.task

    @property
    def timesteps(self) -> int:
        """How many rows were stepped so far; the environment counts them, as not every model counts them alike."""
        return self.bridge.rows_stepped

    def improve(self) -> float:
        """Let the model collect its next batch and learn from it; return the mean reward of its last episodes."""
        # The library draws from torch's and NumPy's global generators: they are this learner's own while it learns.
        outside = _random_state()
        _set_random_state(self.random)
        try:
            self.model.learn(1, reset_num_timesteps=False, log_interval=None)  # type: ignore[arg-type]
        finally:
            self.random = _random_state()
            _set_random_state(outside)
        episodes = self.model.ep_info_buffer or ()
        return float(np.mean([one["r"] for one in episodes])) if episodes else float("nan")

    def policy(self) -> Policy:
        """Return the mean of the actor, with the environment's running moments."""
        moments: Any = self.env.obs_rms
        return Policy.of_layers(
            self.kind.layers(self.model),
            shift=torch.as_tensor(moments.mean, dtype=torch.float32),
            spread=(torch.as_tensor(moments.var, dtype=torch.float32) + self.env.epsilon).sqrt(),
            features=FEATURES,
            scale=self.task.scale,
            activation=self.kind.activation,
            squash=self.kind.squash,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimisers, moments, random states, episodes, and the replay buffer where there is one."""
        model, episodes = self.model, self.native.episodes
        state: dict[str, Any] = {
            "timesteps": [self.timesteps, model.num_timesteps],
            "parameters": model.get_parameters(),
            "extras": {extra: _kept(getattr(model, extra)) for extra in self.kind.extras},
            "moments": {key: _moments(getattr(self.env, key)) for key in ("obs_rms", "ret_rms")},
            "episodes": [episodes.env_seed, episodes.episode],
            "rewards": [float(one["r"]) for one in model.ep_info_buffer or ()],
            "random": self.random,
            "actions": model.action_space.np_random.bit_generator.state,
        }
        if isinstance(model, OffPolicyAlgorithm):
            buffer: Any = model.replay_buffer
            end = buffer.buffer_size if buffer.full else buffer.pos
            # Cloned, so that a file holds what is used and not the whole storage behind a view.
            kept = {name: torch.from_numpy(getattr(buffer, name)[:end]).clone() for name in REPLAY}
            state["replay"] = {**kept, "pos": buffer.pos, "full": buffer.full}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state: the episodes under way then begin again from their start."""
        model: Any = self.model
        model.set_parameters(dict(state["parameters"]), exact_match=True)
        self.bridge.rows_stepped, model.num_timesteps = state["timesteps"]
        for extra, value in state["extras"].items():
            if isinstance(value, Tensor):
                getattr(model, extra).data.copy_(value)
            else:
                setattr(model, extra, value)
        seen = self._resume_episodes(*state["episodes"])
        for key, saved in state["moments"].items():
            moments: Any = getattr(self.env, key)
            moments.mean, moments.var, moments.count = saved["mean"].numpy(), saved["var"].numpy(), saved["count"]
        self.env.old_obs = seen
        model._last_obs, model._last_original_obs = self.env.normalize_obs(seen), seen
        model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)
        model._setup_learn(0, reset_num_timesteps=False)
        model.ep_info_buffer.extend({"r": reward} for reward in state["rewards"])
        if "replay" in state:
            for name in REPLAY:
                getattr(model.replay_buffer, name)[: len(state["replay"][name])] = state["replay"][name].numpy()
            model.replay_buffer.pos, model.replay_buffer.full = state["replay"]["pos"], state["replay"]["full"]
        self.random = state["random"]
        model.action_space.np_random.bit_generator.state = state["actions"]

    def _resume_episodes(self, env_seed: Tensor, episode: Tensor) -> NDArray[np.float32]:
        """Begin the given episodes of the given rows; return what is seen of them."""
        episodes = self.native.episodes
        self.env.venv.reset()  # uses up the seeds the model gave the environment
        episodes.env_seed, episodes.episode = env_seed.clone(), episode - 1
        seen: NDArray[np.float32] = self.env.venv.reset()  # type: ignore[assignment]
        return seen


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _random_state() -> list[Any]:
    """Return the state of torch's and NumPy's global generators, in what a checkpoint may hold."""
    kind, words, *rest = np.random.get_state(legacy=True)
    return [torch.get_rng_state(), kind, torch.as_tensor(np.asarray(words, dtype=np.int64)), *rest]


def _set_random_state(state: list[Any]) -> None:
    own, kind, words, *rest = state
    torch.set_rng_state(own)
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))


def _moments(running: Any) -> dict[str, Any]:
    mean, var = (torch.as_tensor(np.asarray(part, dtype=np.float64)).clone() for part in (running.mean, running.var))
    return {"mean": mean, "var": var, "count": float(running.count)}
