"""Batches of episodes of a task, shared by the single and the vector environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from guidegym.core.observation import BOUND, FEATURES
from guidegym.core.state import put
from guidegym.envs.task import Rollout, Task
from guidegym.errors import GuideGymError
from guidegym.support.settings import MAX_WHOLE, whole_number

SAMPLE_BOUND = 1e4
"""Bound on the observed sample, never approached in normal operation."""

Observation = NDArray[np.float32] | dict[str, NDArray[Any]]


def observation_space(task: Task) -> spaces.Space[Any]:
    """Return the space of one row's observation."""
    model = task.engine.model
    features = spaces.Box(-BOUND, BOUND, (len(FEATURES),), np.float32)
    sample = spaces.Box(-SAMPLE_BOUND, SAMPLE_BOUND, model.event_shape, np.float32)
    if task.observation == "features":
        return features
    if task.observation == "sample":
        return sample
    return spaces.Dict(
        {
            "sample": sample,
            "timestep": spaces.Box(model.process.clean, float(model.process.grid()[-1]), (1,), np.float32),
            "label": spaces.Discrete(model.num_classes),
            "features": features,
        }
    )


def action_space(task: Task) -> spaces.Box:
    """Return the space of one row's action."""
    return spaces.Box(-1.0, 1.0, (task.action_size,), np.float32)


class Episodes:
    """A batch of rows, each with its environment seed and episode count.

    An episode's class and noise seed are functions of these two alone (``Split.draw``): rows need no generator, and a row
    does not depend on the batch size.

    Args:
        task: The task.
        num_rows: Number of rows.
    """

    def __init__(self, task: Task, num_rows: int) -> None:
        self.task = task
        self.single_space = observation_space(task)
        self.space = batch_space(self.single_space, num_rows)
        self.env_seed = torch.zeros(num_rows, dtype=torch.long)
        self.episode = torch.full((num_rows,), -1, dtype=torch.long)
        self.live: Rollout | None = None
        self.rate = torch.zeros(num_rows)

    def restart(self, rows: NDArray[np.bool_], *, seeds: list[int | None] | None = None, pairs: Any = None) -> None:
        """Begin a new episode in the given rows, without evaluating the networks.

        Args:
            rows: A mask.
            seeds: Environment seed of each row of the batch, None for the next episode under the current one.
            pairs: Class and noise seed for all the given rows, instead of drawn ones.
        """
        mask = torch.from_numpy(rows)
        for row, seed in enumerate(seeds or ()):
            if rows[row] and seed is not None:
                self.env_seed[row], self.episode[row] = seed, -1
        self.episode[mask] += 1
        self.rate[mask] = 0.0
        labels, noise = self.task.split.draw(
            self.env_seed[mask], self.episode[mask], num_classes=self.task.engine.model.num_classes
        )
        if pairs is not None:
            labels, noise = (
                torch.full_like(labels, given) if given is not None else drawn
                for given, drawn in zip(pairs, (labels, noise), strict=True)
            )
        fresh = self.task.begin(labels, noise)
        if self.live is None or rows.all():
            self.live = fresh
            return
        numbers = mask.nonzero()[:, 0].to(fresh.value.device)
        self.live = Rollout(
            put(self.live.state, numbers, fresh.state), self.live.value.index_copy(0, numbers, fresh.value)
        )

    def running(self) -> Rollout:
        """Return the running trajectories.

        Raises:
            GuideGymError: If the environment was not reset.
        """
        if self.live is None:
            raise GuideGymError("`reset` must be called before `step` and `render`")
        return self.live

    def look(self) -> None:
        """Evaluate the networks for the next observation, once for all rows."""
        self.live = self.task.look(self.running())

    def act(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Step all rows that have not ended; return their rewards, and which have ended."""
        live = self.running()
        tensor = torch.from_numpy(np.asarray(action, dtype=np.float32)).to(live.value.device)
        self.live, reward, ended = self.task.act(live, tensor)
        rate = self.task.scale.physical(tensor)[1]
        if rate is not None:
            self.rate = torch.where(self.live.state.step > live.state.step, rate, 0.0).cpu()
        return reward.double().cpu().numpy(), ended.cpu().numpy()

    def observation(self) -> Observation:
        """Return the observations of all rows, as separate arrays."""
        live, task = self.running(), self.task
        sample = live.state.x.float().clamp(-SAMPLE_BOUND, SAMPLE_BOUND)
        if task.observation == "sample":
            return _array(sample)
        features = task.features(live)
        if task.observation == "features":
            return _array(features)
        t, _ = task.engine.at(live.state)
        t = torch.where(task.engine.ended(live.state), -1, t)
        return {
            "sample": _array(sample),
            "timestep": _array(t.float()[:, None]),
            "label": live.state.label.cpu().numpy().copy(),
            "features": _array(features),
        }

    def info(self) -> dict[str, NDArray[Any]]:
        """Return the physical quantities of all rows."""
        state = self.running().state
        target = state.target.gather(1, state.label[:, None])[:, 0]
        progressive = {} if self.task.scale.max_rate is None else {"rate": _array(self.rate), "target": _array(target)}
        return {
            "weight": _array(state.weight.float()),
            **progressive,
            "label": state.label.cpu().numpy().copy(),
            "noise_seed": state.seed.cpu().numpy().copy(),
            "failed": state.failed.cpu().numpy().copy(),
            "network_evaluations": state.evaluations.sum(dim=1).cpu().numpy(),
        }


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.array(tensor.cpu().numpy(), dtype=np.float32)


def check_options(options: Mapping[str, Any] | None, num_classes: int) -> tuple[int | None, int | None] | None:
    """Return the class and the noise seed given by reset options; None if they give neither.

    Raises:
        GuideGymError: If an option is unknown or out of range.
    """
    given = dict(options or {})
    label, seed = given.pop("label", None), given.pop("noise_seed", None)
    if given:
        raise GuideGymError(f"`options` may contain `label` and `noise_seed`, got {', '.join(map(str, given))}")
    if label is None and seed is None:
        return None
    return (
        None if label is None else whole_number("label", label, least=0, most=num_classes - 1),
        None if seed is None else whole_number("noise_seed", seed, least=0, most=MAX_WHOLE),
    )


def check_env_seeds(seed: object, num_rows: int) -> list[int | None]:
    """Return the environment seed of each row, None for rows that continue, from the argument of ``reset``.

    Args:
        seed: One number, to which the row's number is added; a sequence with one number or None per row; or None.
        num_rows: Number of rows.

    Raises:
        GuideGymError: If a seed is not a whole number in 0 .. 2**63 - 1, or their number is not that of the rows.
    """
    if seed is None:
        return [None] * num_rows
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes) and np.ndim(seed) == 1:
        if len(seed) != num_rows:
            raise GuideGymError(f"`seed` must be one number or {num_rows} of them, got {len(seed)}")
        return [
            None if one is None else whole_number(f"seed[{row}]", one, least=0, most=MAX_WHOLE)
            for row, one in enumerate(seed)
        ]
    first = whole_number("seed", seed, least=0, most=MAX_WHOLE - (num_rows - 1))
    return [first + row for row in range(num_rows)]
