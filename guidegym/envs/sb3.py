"""The bridge to Stable-Baselines3: the native vector environment as its ``VecEnv``, and an extractor for noisy samples."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from guidegym.envs.vector import GuidanceVectorEnv
from guidegym.errors import GuideGymError


class SB3VecEnv(VecEnv):
    """A ``GuidanceVectorEnv`` with Stable-Baselines3's interface; its only Python loop is over rows that just ended.

    Args:
        env: The environment, in autoreset mode ``SameStep``.

    Raises:
        GuideGymError: If it is another kind of environment or in another mode.
    """

    def __init__(self, env: GuidanceVectorEnv) -> None:
        if not isinstance(env, GuidanceVectorEnv):
            raise GuideGymError(
                f"`env` must be a GuidanceVectorEnv without wrappers, as `gymnasium.make_vec` returns it, got {env!r:.80}"
            )
        if env.autoreset_mode != AutoresetMode.SAME_STEP:
            raise GuideGymError(f"`env` must be in autoreset mode SameStep, got {env.autoreset_mode.value}")
        self.env = env
        self.render_mode = env.render_mode
        self.rows_stepped = 0
        self._actions: NDArray[np.float32] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Begin an episode in every row, with the seeds set by ``seed`` if there are any."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observation, info = self.env.reset(seed=seeds)
        self.reset_infos = _rows(info, range(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Store the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Take the step; a row that ended has its last observation in ``terminal_observation``."""
        assert self._actions is not None
        observation, rewards, ended, _, info = self.env.step(np.clip(self._actions, -1.0, 1.0))
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self.rows_stepped += self.num_envs
        over = np.flatnonzero(ended)
        if len(over):
            final, ending = info["final_obs"], _rows(info["final_info"], over)
            for row, own in zip(over, ending, strict=True):
                last = {key: value[row] for key, value in final.items()} if isinstance(final, dict) else final[row]
                infos[row] = {**own, "terminal_observation": last, "TimeLimit.truncated": False}
        return observation, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return one picture of all rows."""
        return self.env.render() or [None]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the attribute of the vector environment, once per row."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, shared by all rows."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once; return its result for each row."""
        answer = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [answer] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Return False for each row: there are no wrappers inside."""
        return [False] * len(list(self._get_indices(indices)))


def _rows(info: dict[str, Any], rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the info of some rows as one dictionary per row."""
    keys = [key for key in info if not key.startswith("_")]
    return [{key: info[key][row].item() for key in keys} for row in rows]


class SampleExtractor(BaseFeaturesExtractor):
    """Features of a noisy sample for Stable-Baselines3: convolutions over images, a layer over vectors, the rest appended.

    By default Stable-Baselines3 flattens floating-point images. Use it as
    ``policy_kwargs={"features_extractor_class": SampleExtractor}``.

    Args:
        observation_space: The space of observation mode ``full`` or ``sample``.
        width: Number of features computed from the sample.
    """

    def __init__(self, observation_space: spaces.Space[Any], width: int = 64) -> None:
        is_full = isinstance(observation_space, spaces.Dict)
        sample = observation_space["sample"] if isinstance(observation_space, spaces.Dict) else observation_space
        if not isinstance(sample, spaces.Box):
            raise GuideGymError(f"`observation_space` must be that of mode 'full' or 'sample', got {observation_space}")
        others = (
            sum(spaces.utils.flatdim(space) for name, space in observation_space.items() if name != "sample")
            if isinstance(observation_space, spaces.Dict)
            else 0
        )
        super().__init__(observation_space, width + others)
        self.is_full = is_full
        self.steps = float(observation_space["timestep"].high[0]) if is_full else 1.0  # type: ignore[index]
        shape = sample.shape
        if len(shape) == 3:
            self.network = nn.Sequential(
                nn.Conv2d(shape[0], 16, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(4),
                nn.Flatten(),
                nn.Linear(32 * 16, width),
                nn.ReLU(),
            )
        else:
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), width), nn.ReLU())

    def forward(self, observations: Any) -> Tensor:
        """Return the features of each row."""
        if not self.is_full:
            features: Tensor = self.network(observations)
            return features
        parts = [self.network(observations["sample"]), observations["features"]]
        parts += [observations["timestep"] / self.steps, observations["label"].flatten(1).float()]
        return torch.cat(parts, dim=1)
