"""The single environment: one trajectory per episode."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from guidegym.envs.episodes import Episodes, Observation, action_space, check_env_seeds, check_options
from guidegym.envs.frames import METADATA, Trace, check_render_mode, frame
from guidegym.envs.task import make_task
from guidegym.errors import GuideGymError
from guidegym.support.settings import check_settings


class GuidanceEnv(gym.Env[Any, NDArray[np.float32]]):
    """Guide one reverse diffusion trajectory step by step; see the pages in ``docs/environments``.

    Args:
        render_mode: ``rgb_array`` or None.
        **arguments: See ``guidegym.envs.make_task``.

    Raises:
        GuideGymError: If an argument is unknown or out of range.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(self, *, render_mode: str | None = None, **arguments: Any) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        check_settings(make_task, arguments, what="the environment")
        self.episodes = Episodes(make_task(**arguments), 1)
        self.observation_space = self.episodes.single_space
        self.action_space: spaces.Box = action_space(self.episodes.task)  # type: ignore[assignment]
        self.trace = Trace(1)
        self._ended = True
        self._closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; a seed restarts the sequence of episodes.

        Args:
            seed: Environment seed, in 0 .. 2**63 - 1.
            options: May contain the episode's ``label`` and ``noise_seed``.

        Raises:
            GuideGymError: If the seed or an option is out of range.
        """
        self._check_open()
        seed = None if seed is None else check_env_seeds([seed], 1)[0]
        super().reset(seed=seed)
        pair = check_options(options, self.episodes.task.engine.model.num_classes)
        if seed is None and self.episodes.live is None:
            seed = int(self.np_random.integers(2**31))
        self.episodes.restart(np.ones(1, dtype=np.bool_), seeds=[seed], pairs=pair)
        self.episodes.look()
        self._ended = False
        self.trace = Trace(1)
        return self._observation(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one reverse step.

        Raises:
            GuideGymError: If the episode has ended, or the action is not in the action space.
        """
        self._check_open()
        if self._ended:
            raise GuideGymError("`reset` must be called before `step`, and after the end of an episode")
        given = np.asarray(action, dtype=np.float32)
        if not self.action_space.contains(given):
            raise GuideGymError(f"`action` must be in {self.action_space}, got {action}")
        rewards, ended = self.episodes.act(given[None])
        self._ended = bool(ended[0])
        if not self._ended:
            self.episodes.look()
        if self.render_mode is not None:
            self.trace.add(self.episodes)
        return self._observation(), float(rewards[0]), self._ended, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture of the clean estimate, the weights so far and the judge's probability of the wanted class."""
        if self.render_mode is None:
            return None
        self._check_open()
        return frame(self.episodes, self.trace)

    def close(self) -> None:
        """Release the trajectory; any later use is an error."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise GuideGymError("the environment is closed")

    def _observation(self) -> Any:
        seen: Observation = self.episodes.observation()
        return {key: value[0] for key, value in seen.items()} if isinstance(seen, dict) else seen[0]

    def _info(self) -> dict[str, Any]:
        return {key: value[0].item() for key, value in self.episodes.info().items()}
