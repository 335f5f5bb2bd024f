"""Agents of Stable-Baselines3 as learners: trained batch by batch in the native vector environment, saved without pickle."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch.nn.utils import parameters_to_vector

from guidegym.envs import GuidanceVectorEnv, Task
from guidegym.envs.sb3 import SB3VecEnv
from guidegym.guidance import Policy
from guidegym.support.settings import with_defaults

LAST_RATE = 0.02
"""Final share of the learning rate."""
Make = Callable[[VecNormalize, Callable[[], float]], BaseAlgorithm]
"""``(environment, remaining share of the training) -> model``."""


class SB3Learner:
    """A learner around a model of Stable-Baselines3.

    Observations are normalised by running moments, which the exported policy includes. A resumed learner keeps its
    parameters, optimisers and moments, and continues with fresh episodes: running episodes and a replay buffer are not kept.

    Args:
        make: Creates the model; its ``seed`` determines initial weights and exploration.
        arguments: Arguments of the environment; its observation must be ``features``.
        timesteps: Total environment steps, over all rows.
        num_envs: Number of parallel rows.
        norm_reward: Whether rewards are divided by the running spread of their sums.

    Raises:
        GuideGymError: If the environment's observation is not ``features``.
    """

    def __init__(
        self, make: Make, arguments: Mapping[str, Any], *, timesteps: int, num_envs: int, norm_reward: bool
    ) -> None:
        self.native = GuidanceVectorEnv(num_envs, **arguments)
        self.task.check_features()
        self.bridge = SB3VecEnv(self.native)
        self.env = VecNormalize(VecMonitor(self.bridge), gamma=1.0, clip_obs=1e3, norm_reward=norm_reward)
        self.random: list[Any] = []
        with self._own_random_numbers():
            self.model = make(self.env, lambda: max(1 - self.timesteps / timesteps, 0.0))
        self.model.set_logger(Logger(folder=None, output_formats=[]))

    @property
    def task(self) -> Task:
        """The task to learn."""
        return self.native.episodes.task

    @property
    def timesteps(self) -> int:
        """Environment steps so far, counted by the environment because models count differently."""
        return self.bridge.rows_stepped

    def improve(self) -> float:
        """Let the model collect its next batch and learn from it; return the mean reward of its last episodes."""
        with self._own_random_numbers():
            self.model.learn(1, reset_num_timesteps=False, log_interval=None)  # type: ignore[arg-type]
        episodes = self.model.ep_info_buffer or ()
        return float(np.mean([one["r"] for one in episodes])) if episodes else float("nan")

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Run the library, which draws from torch's and NumPy's global generators, with this learner's own generator states."""
        outside = _random_state()
        if self.random:
            _set_random_state(self.random)
        try:
            yield
        finally:
            self.random = _random_state()
            _set_random_state(outside)

    def policy(self) -> Policy:
        """Return the mean of the actor, with the environment's running moments."""
        return Policy.from_sb3(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimisers and moments."""
        return {
            "timesteps": [self.timesteps, self.model.num_timesteps],
            "parameters": self.model.get_parameters(),
            "moments": {key: _moments(getattr(self.env, key)) for key in ("obs_rms", "ret_rms")},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state, with fresh episodes."""
        self.model.set_parameters(dict(state["parameters"]), exact_match=True)
        if hasattr(self.model, "weights"):  # ARS keeps a second copy of its policy's parameters
            self.model.weights = parameters_to_vector(self.model.policy.parameters()).detach()
        self.bridge.rows_stepped, self.model.num_timesteps = state["timesteps"]
        for key, saved in state["moments"].items():
            moments: Any = getattr(self.env, key)
            moments.mean, moments.var, moments.count = saved["mean"].numpy(), saved["var"].numpy(), saved["count"]
        if isinstance(self.model, OffPolicyAlgorithm):
            self.model.learning_starts += self.model.num_timesteps  # its replay buffer is empty again
        with self._own_random_numbers():
            # Episodes and exploration differ from those at the start, and are the same for every resume at this point.
            self.model.set_random_seed(((self.model.seed or 0) * 1_000_003 + self.timesteps) % 2**31)


def sb3_agent(
    algorithm: type[BaseAlgorithm], policy: str, tuned: Callable[..., dict[str, Any]], *, norm_reward: bool = True
) -> Callable[..., SB3Learner]:
    """Return the ``learner`` function of an agent for a Stable-Baselines3 algorithm and a policy that it knows by name.

    ``tuned`` returns its settings for a chain of ``num_steps``; its other arguments, including ``num_envs``, are the agent's.
    """

    def learner(arguments: Mapping[str, Any], *, timesteps: int, seed: int, **settings: Any) -> SB3Learner:
        tuned(num_steps=1, **settings)  # raises if a setting is out of range

        def make(env: VecNormalize, left: Callable[[], float]) -> BaseAlgorithm:
            own = tuned(num_steps=env.get_attr("episodes")[0].task.engine.sampler.num_steps, **settings)
            rate = own.pop("learning_rate")
            return algorithm(
                policy, env, learning_rate=lambda _: rate * max(left(), LAST_RATE), device="cpu", seed=seed, **own
            )

        num_envs = with_defaults(tuned, settings)["num_envs"]
        return SB3Learner(make, arguments, timesteps=timesteps, num_envs=num_envs, norm_reward=norm_reward)

    given, own = inspect.signature(learner), inspect.signature(tuned)
    *first, _ = given.parameters.values()
    named = [one for name, one in own.parameters.items() if name != "num_steps"]
    learner.__dict__["__signature__"] = given.replace(parameters=[*first, *named])
    learner.__annotations__ = {**tuned.__annotations__, **learner.__annotations__}
    learner.__doc__ = tuned.__doc__
    return learner


def _random_state() -> list[Any]:
    return [torch.get_rng_state(), np.random.get_state(legacy=True)]


def _set_random_state(state: list[Any]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])


def _moments(running: Any) -> dict[str, Any]:
    mean, var = (torch.as_tensor(np.asarray(part, dtype=np.float64)).clone() for part in (running.mean, running.var))
    return {"mean": mean, "var": var, "count": float(running.count)}
