"""Group-relative policy gradient: rows that share start noise and class are each other's baseline.

Everything stays on the networks' device: no Gymnasium environment, no arrays, one network call per step for all groups.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from guidegym.core.observation import FEATURES
from guidegym.envs import Task, make_task
from guidegym.envs.play import draw_episodes
from guidegym.guidance import Policy
from guidegym.support.settings import check_range

CLIP = 0.2
"""Clipping range of the probability ratio around 1."""
DECAY = 0.95
"""Decay per update of the moving average of the weights."""


def leave_one_out(total: Float[Tensor, " groups rows"]) -> Float[Tensor, " groups rows"]:
    """Return each row's reward minus the mean reward of the others in its group."""
    rows = total.shape[1]
    return (total - total.mean(dim=1, keepdim=True)) * rows / (rows - 1)


class Actor(nn.Module):
    """A network from features to the mean action, with features normalised by the moments of the first batch.

    Args:
        size: Number of actions.
        hidden: Width of the two hidden layers.
        start: Constant output of the initial actor.
    """

    shift: Tensor
    spread: Tensor

    def __init__(self, size: int, *, hidden: int, start: float) -> None:
        super().__init__()
        last = nn.Linear(hidden, size)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, start)
        self.layers = nn.ModuleList([nn.Linear(len(FEATURES), hidden), nn.Linear(hidden, hidden), last])
        self.register_buffer("shift", torch.zeros(len(FEATURES)))
        self.register_buffer("spread", torch.ones(len(FEATURES)))

    def forward(self, features: Tensor) -> Tensor:
        """Return the mean of the action."""
        hidden = (features - self.shift) / self.spread
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden if number == 0 else hidden.tanh())
        return hidden

    def normalise(self, features: Tensor) -> None:
        """Set the normalisation to the moments of the given features."""
        self.shift.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp_min(1e-2))


@dataclass(eq=False)
class GroupLearner:
    """The agent; see ``learner`` for its arguments."""

    task: Task
    actor: Actor
    total: int
    seed: int
    groups: int
    rows: int
    learning_rate: float
    spreads: tuple[float, float]
    epochs: int

    def __post_init__(self) -> None:
        self.actor = self.actor.to(self.task.engine.model.device)
        self.optimiser = torch.optim.Adam(self.actor.parameters(), lr=self.learning_rate)
        self.average = AveragedModel(self.actor, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.updates = 0

    @property
    def timesteps(self) -> int:
        """Environment steps so far, over all rows."""
        return self.updates * self.groups * self.rows * self.task.engine.sampler.num_steps

    def improve(self) -> float:
        """Play one episode per row, learn from the group-relative rewards, and return the mean reward."""
        done = min(self.timesteps / self.total, 1.0)
        first, last = self.spreads
        spread = first * (last / first) ** done
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.learning_rate * (1 - 0.98 * done)
        labels, seeds = draw_episodes(self.task, self.groups, seed=self.seed, first=self.updates * self.groups)
        seen, actions, total = self._play(labels, seeds, spread)
        advantage = leave_one_out(total.reshape(self.groups, self.rows)).flatten()
        self._follow(seen, actions, advantage / advantage.std().clamp_min(1e-6), spread)
        self.average.update_parameters(self.actor)
        self.updates += 1
        return float(total.mean())

    def _play(self, labels: Tensor, seeds: Tensor, spread: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return features and actions of every step, and the sum of rewards, of ``rows`` attempts at each episode."""
        task = self.task
        group = torch.arange(self.groups).repeat_interleave(self.rows)
        live = task.begin(labels[group], seeds[group], group)
        seen: list[Tensor] = []
        actions: list[Tensor] = []
        total = torch.zeros_like(live.value)
        for _ in range(task.engine.sampler.num_steps):
            live = task.look(live)
            seen.append(task.features(live))
            noise = torch.randn(len(group), task.action_size, generator=self.generator).to(seen[-1])
            with torch.no_grad():
                actions.append(self.actor(seen[-1]) + spread * noise)
            live, reward, _ = task.act(live, actions[-1])
            total = total + reward
        if self.updates == 0:
            # The initial actor's output does not depend on its input, so the moments can still be set.
            self.actor.normalise(torch.cat(seen))
        return torch.stack(seen), torch.stack(actions), total

    def _follow(
        self,
        seen: Float[Tensor, " steps batch features"],
        actions: Float[Tensor, " steps batch size"],
        advantage: Float[Tensor, " batch"],
        spread: float,
    ) -> None:
        """Take the update's gradient steps on the clipped surrogate, treating all steps of the chain alike."""
        with torch.no_grad():
            old = _log_probability(self.actor(seen), actions, spread)
        for _ in range(self.epochs):
            ratio = (_log_probability(self.actor(seen), actions, spread) - old).exp()
            loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.actor.parameters(), 1.0)
            self.optimiser.step()

    def policy(self) -> Policy:
        """Return the mean of the actor with weights averaged over updates, which reduces their noise."""
        actor = self.average.module if self.updates else self.actor
        assert isinstance(actor, Actor)
        return Policy.of_layers(
            actor.layers,
            shift=actor.shift.cpu().clone(),
            spread=actor.spread.cpu().clone(),
            features=FEATURES,
            scale=self.task.scale,
            environment=self.task.name,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the actor, its average, its optimiser, the exploration's random state and the number of updates."""
        return {
            "actor": self.actor.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state."""
        self.actor.load_state_dict(state["actor"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.updates = state["updates"]


def _log_probability(mean: Tensor, action: Tensor, spread: float) -> Tensor:
    return (-0.5 * ((action - mean) / spread).square() - math.log(spread)).sum(dim=-1)


def learner(
    arguments: Mapping[str, Any],
    *,
    timesteps: int,
    seed: int,
    groups: int = 64,
    rows: int = 8,
    learning_rate: float = 3e-3,
    spread: float = 0.4,
    last_spread: float = 0.2,
    epochs: int = 2,
    hidden: int = 32,
    start: float = -0.5,
) -> GroupLearner:
    """Group-relative policy gradient: rows that share start noise and class are each other's baseline.

    Args:
        arguments: Arguments of the environment; its observation must be ``features``.
        timesteps: Total environment steps, over all rows.
        seed: Seed of the initial weights, the episodes and the exploration.
        groups: Start noises per update.
        rows: Rows that share each start noise, >= 2.
        learning_rate: Initial learning rate of Adam, decaying to a fiftieth.
        spread: Initial standard deviation of the exploration.
        last_spread: Final standard deviation of the exploration.
        epochs: Gradient steps on each batch.
        hidden: Width of the two hidden layers.
        start: Action of the initial policy, in [-1, 1].

    Raises:
        GuideGymError: If the environment's observation is not ``features``, or a number is out of range.

    Source:
        The leave-one-out baseline is that of Kool et al. 2019, the clipped ratio that of Schulman et al. 2017.
    """
    for name, value, least in (("groups", groups, 1), ("rows", rows, 2), ("epochs", epochs, 1), ("hidden", hidden, 1)):
        check_range(name, value, least=least)
    for name, number in (("learning_rate", learning_rate), ("spread", spread), ("last_spread", last_spread)):
        check_range(name, number, above=0)
    check_range("start", start, least=-1, most=1)
    task = make_task(**arguments)
    task.check_features()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor = Actor(task.action_size, hidden=hidden, start=start)
    return GroupLearner(
        task,
        actor,
        total=timesteps,
        seed=seed,
        groups=groups,
        rows=rows,
        learning_rate=learning_rate,
        spreads=(spread, last_spread),
        epochs=epochs,
    )
