"""Group-relative policy gradient: rows that share start noise and class are each other's baseline.

Everything stays on the device of the networks: no environment shell, no arrays, one network call a step for all groups.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guidegym.envs import Task
from guidegym.envs.play import draw_episodes
from guidegym.errors import GuideGymError
from guidegym.guidance import Policy
from guidegym.observation import FEATURES


@dataclass(frozen=True)
class Settings:
    """How it learns.

    Args:
        iterations: Updates.
        groups: Start noises an update.
        rows: Rows that share each of them, >= 2.
        learning_rate: Of Adam, falling to a tenth.
        hidden: Width of the two hidden layers.
        spread: Standard deviation of the exploration at the start, falling to ``last_spread``.
        last_spread: Standard deviation at the end.
        epochs: Passes over the rows of an update.
        clip: How far a ratio of probabilities may move from 1.
        start: Action of the fresh policy, in [-1, 1].
        seed: Seed of the initial weights, the episodes and the exploration.

    Raises:
        GuideGymError: If a number is out of range.
    """

    iterations: int = 150
    groups: int = 64
    rows: int = 8
    learning_rate: float = 3e-3
    hidden: int = 32
    spread: float = 0.3
    last_spread: float = 0.1
    epochs: int = 2
    clip: float = 0.2
    start: float = -0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("iterations", 1), ("groups", 1), ("rows", 2), ("hidden", 1), ("epochs", 1)):
            if getattr(self, name) < least:
                raise GuideGymError(f"`{name}` must be >= {least}, got {getattr(self, name)}")


def leave_one_out(total: Float[Tensor, " groups rows"]) -> Float[Tensor, " groups rows"]:
    """Return each row's reward over the mean of the others of its group."""
    rows = total.shape[1]
    return (total - total.mean(dim=1, keepdim=True)) * rows / (rows - 1)


class _Actor(nn.Module):
    """Features to the mean of the action; the features are normalised by running moments."""

    shift: Tensor
    spread: Tensor

    def __init__(self, size: int, settings: Settings) -> None:
        super().__init__()
        width = settings.hidden
        self.layers = nn.ModuleList([nn.Linear(len(FEATURES), width), nn.Linear(width, width), nn.Linear(width, size)])
        self.register_buffer("shift", torch.zeros(len(FEATURES)))
        self.register_buffer("spread", torch.ones(len(FEATURES)))
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, settings.start)

    def forward(self, features: Tensor) -> Tensor:
        hidden = (features - self.shift) / self.spread
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden if number == 0 else hidden.tanh())
        return hidden

    def normalise(self, features: Tensor) -> None:
        """Take the moments of the first features seen."""
        self.shift.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp_min(1e-2))


def train(
    task: Task, settings: Settings | None = None, *, on_update: Callable[[int, float, Policy], None] | None = None
) -> Policy:
    """Learn a policy of the task.

    Args:
        task: The task; its observation must be ``features``.
        settings: How it learns.
        on_update: Told after each update its number, the mean reward, and the policy so far.

    Raises:
        GuideGymError: If the task shows something else than features.

    Source:
        The leave-one-out baseline is that of Kool et al. 2019, the clipped ratio that of Schulman et al. 2017.
    """
    settings = settings or Settings()
    if task.observation != "features":
        raise GuideGymError(f"the task must show `features`, got observation '{task.observation}'")
    device = task.engine.testbed.device
    torch_seed = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        actor = _Actor(task.scale.size, settings).to(device)
    optimiser = torch.optim.Adam(actor.parameters(), lr=settings.learning_rate)
    for update in range(settings.iterations):
        done = update / settings.iterations
        spread = settings.spread * (settings.last_spread / settings.spread) ** done
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1 - 0.9 * done)
        labels, seeds = draw_episodes(task, settings.groups, seed=settings.seed, first=update * settings.groups)
        live = task.begin(labels.repeat_interleave(settings.rows), seeds.repeat_interleave(settings.rows))
        seen: list[Tensor] = []
        done_actions: list[Tensor] = []
        total = torch.zeros_like(live.worth)
        for _ in range(task.engine.sampler.num_steps):
            live = task.look(live)
            features = task.features(live)
            if update == 0 and not seen:
                actor.normalise(features)
            noise = torch.randn(len(features), task.scale.size, generator=torch_seed).to(device)
            with torch.no_grad():
                action = actor(features) + spread * noise
            live, reward, _ = task.act(live, action)
            seen.append(features)
            done_actions.append(action)
            total = total + reward
        if update == 0:
            actor.normalise(torch.cat(seen))
            continue  # the first batch only tells the scale of the features
        advantage = leave_one_out(total.reshape(settings.groups, settings.rows)).flatten()
        advantage = advantage / advantage.std().clamp_min(1e-6)
        _improve(actor, optimiser, torch.stack(seen), torch.stack(done_actions), advantage, spread, settings)
        if on_update is not None:
            on_update(update, float(total.mean()), export(actor, task))
    return export(actor, task)


def _improve(
    actor: _Actor,
    optimiser: torch.optim.Optimizer,
    seen: Float[Tensor, " steps batch features"],
    actions: Float[Tensor, " steps batch size"],
    advantage: Float[Tensor, " batch"],
    spread: float,
    settings: Settings,
) -> None:
    """Take the update's gradient steps on the clipped surrogate, all steps of the chain alike."""
    with torch.no_grad():
        old = _log_probability(actor(seen), actions, spread)
    for _ in range(settings.epochs):
        ratio = (_log_probability(actor(seen), actions, spread) - old).exp()
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
        optimiser.step()


def _log_probability(mean: Tensor, action: Tensor, spread: float) -> Tensor:
    return (-0.5 * ((action - mean) / spread).square() - math.log(spread)).sum(dim=-1)


def export(actor: _Actor, task: Task) -> Policy:
    """Return the actor's mean as a policy that needs no training code."""
    layers = [layer for layer in actor.layers if isinstance(layer, nn.Linear)]
    return Policy(
        weights=tuple(layer.weight.detach().cpu().clone() for layer in layers),
        biases=tuple(layer.bias.detach().cpu().clone() for layer in layers),
        shift=actor.shift.cpu().clone(),
        spread=actor.spread.cpu().clone(),
        features=FEATURES,
        scale=task.scale,
    )
