"""The vector environment: many trajectories, one network call per step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from guidegym.envs.episodes import Episodes, action_space, check_env_seeds, check_options
from guidegym.envs.frames import METADATA, Trace, check_render_mode, frame
from guidegym.envs.task import make_task
from guidegym.errors import GuideGymError
from guidegym.support.settings import check_count, check_settings

Step = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class GuidanceVectorEnv(VectorEnv[Any, NDArray[np.float32], Any]):
    """Guide many reverse diffusion trajectories at once; row ``i`` is ``GuidanceEnv`` reset with ``seed + i``.

    Args:
        num_envs: Number of rows, >= 1.
        autoreset_mode: ``SameStep``, ``NextStep`` or ``Disabled``, or Gymnasium's ``AutoresetMode``.
        render_mode: ``rgb_array`` or None.
        **arguments: See ``guidegym.envs.make_task``.

    Raises:
        GuideGymError: If an argument is unknown or out of range.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        num_envs = check_count("num_envs", num_envs, least=1)
        check_render_mode(render_mode)
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError as error:
            known = ", ".join(mode.value for mode in AutoresetMode)
            raise GuideGymError(f"`autoreset_mode` must be one of {known}, got {autoreset_mode!r}") from error
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        check_settings(make_task, arguments, what="the environment")
        self.episodes = Episodes(make_task(**arguments), num_envs)
        self.single_observation_space = self.episodes.single_space
        self.observation_space = self.episodes.space
        self.single_action_space = action_space(self.episodes.task)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.trace = Trace(num_envs)
        self._ended = np.ones(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every row, or in those of a mask while the others continue.

        Args:
            seed: Row ``i`` is reset with ``seed + i``; or one seed, or None, per row. A row without a seed continues with
                the episodes of its last one; a row that never had one gets a random one, as in Gymnasium's environments.
            options: May contain ``reset_mask``, and ``label`` and ``noise_seed`` for all rows that are reset.

        Raises:
            GuideGymError: If a seed or an option is out of range.
        """
        self._check_open()
        given = dict(options or {})
        rows = self._mask(given.pop("reset_mask", None))
        pair = check_options(given, self.episodes.task.engine.model.num_classes)
        seeds = check_env_seeds(seed, self.num_envs)
        super().reset(seed=None if isinstance(seed, Sequence | np.ndarray) else seeds[0])
        self.episodes.restart(rows, seeds=self._drawn(seeds), pairs=pair)
        self.episodes.look()
        self._ended = self._ended & ~rows
        self.trace.clear(rows)
        return self.episodes.observation(), self._with_masks(self.episodes.info(), rows)

    def step(self, actions: NDArray[np.float32]) -> Step:
        """Take one reverse step in every row; rows that end are reset according to the autoreset mode.

        Raises:
            GuideGymError: If an action is outside its space, or the environment or a row that has ended was not reset.
        """
        self._check_open()
        given = np.asarray(actions, dtype=np.float32)
        if given.shape != self.action_space.shape or not bool((np.abs(given) <= 1).all()):
            raise GuideGymError(
                f"`actions` must have shape {self.action_space.shape} with values in [-1, 1], got {given!r:.200}"
            )
        self.episodes.running()
        anew = self._ended
        if anew.any() and self.autoreset_mode != AutoresetMode.NEXT_STEP:
            raise GuideGymError(
                "rows that have ended must be reset before `step`: `reset(options={'reset_mask': ...})`"
            )
        rewards, ended = self.episodes.act(given)
        if anew.any():  # NEXT_STEP: rows that ended in the last step only begin in this one
            self.episodes.restart(anew)
            rewards[anew], ended = 0.0, ended & ~anew
        info: dict[str, Any] = {}
        over = ended.copy()
        if self.render_mode is not None:
            self.trace.add(self.episodes)
        if ended.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            info["final_obs"], info["_final_obs"] = self.episodes.observation(), ended
            info["final_info"], info["_final_info"] = self._with_masks(self.episodes.info(), ended), ended
            self.episodes.restart(ended)
            over = np.zeros_like(ended)
        self._ended = over
        if not over.all():
            self.episodes.look()
        info |= self._with_masks(self.episodes.info(), np.ones_like(ended))
        return self.episodes.observation(), rewards, ended, np.zeros_like(ended), info

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return one picture of all rows, in a tuple."""
        if self.render_mode is None:
            return None
        self._check_open()
        return (frame(self.episodes, self.trace),)

    def _mask(self, given: Any) -> NDArray[np.bool_]:
        if given is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(given, np.ndarray) or given.shape != (self.num_envs,) or given.dtype != np.bool_:
            raise GuideGymError(f"`reset_mask` must be a boolean array of length {self.num_envs}, got {given!r:.80}")
        if not given.any():
            raise GuideGymError("`reset_mask` must reset at least one row")
        if self.episodes.live is None and not given.all():
            raise GuideGymError("the first `reset` must reset every row")
        return given

    def _drawn(self, seeds: list[int | None]) -> list[int | None]:
        """Return the seeds, drawn at random for rows that have never had one."""
        if self.episodes.live is None and not any(one is not None for one in seeds):
            first = int(self.np_random.integers(2**31))
            return [first + row for row in range(self.num_envs)]
        unseeded = (self.episodes.episode < 0).tolist()
        return [
            int(self.np_random.integers(2**31)) if one is None and anew else one
            for one, anew in zip(seeds, unseeded, strict=True)
        ]

    def _check_open(self) -> None:
        if self.closed:
            raise GuideGymError("the environment is closed")

    @staticmethod
    def _with_masks(info: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, Any]:
        return info | {f"_{key}": rows.copy() for key in info}
