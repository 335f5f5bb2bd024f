"""The training loop of agents: evaluation on held-out episodes, checkpoints, resuming, Ctrl-C."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from guidegym.envs import Task
from guidegym.envs.play import draw_episodes, follow, play
from guidegym.errors import GuideGymError
from guidegym.guidance import Guidance, Policy
from guidegym.learning.learner import Learner
from guidegym.support.checkpoint import Checkpoint, keep_on
from guidegym.support.files import only_one, write_atomically
from guidegym.support.settings import finite_number, plain_fields

CHECKPOINT = "checkpoint.pt"
AGENT = "agent.json"
"""The latest policy."""
BEST = "agent-best.json"
"""The policy with the best held-out reward, over a few hundred episodes and therefore partly by luck."""
PROGRESS = "progress.csv"

OnScalars = Callable[[int, Mapping[str, float]], None]
"""Called after each batch and each evaluation with the number of environment steps and the measured values."""


@dataclass(frozen=True)
class LearnSettings:
    """Settings of a training run.

    Args:
        timesteps: Total environment steps, over all rows; the last batch may exceed it slightly.
        out: Folder of the run.
        eval_every: Environment steps between evaluations.
        eval_episodes: Held-out episodes per evaluation, always the same ones.
        identity: Settings that identify the run, by name: agent, environment, seed.

    Raises:
        GuideGymError: If a number is out of range.
    """

    timesteps: int
    out: Path
    eval_every: int
    eval_episodes: int
    identity: Mapping[str, Any]

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in ("timesteps", "eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise GuideGymError(f"must be >= 1, got {getattr(self, name)}", argument=name)


@dataclass
class Progress:
    """The progress of a run.

    Args:
        evaluations: Environment steps and mean held-out reward at each evaluation.
        seconds: Time spent so far, without interruptions.
    """

    evaluations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> float:
        """The best evaluation so far."""
        return max((reward for _, reward in self.evaluations), default=-float("inf"))


def as_guidance(task: Task, policy: Policy) -> Guidance:
    """Return the guidance that replays a policy of a task in plain sampling."""
    guidance = Guidance(task.engine.guide, target=task.target, base_model=task.engine.base_model, policy=policy)
    return guidance.found_on(task.engine.model)


def learn(
    learner: Learner, test: Task, settings: LearnSettings, *, resume: bool = False, on_scalars: OnScalars | None = None
) -> Progress:
    """Train an agent to the end, with ``test`` its task on held-out episodes; ``resume`` continues a run that has a checkpoint.

    Writes ``agent.json`` (a guidance file, its tensors beside it) at each evaluation, ``agent-best.json`` at each that is
    the best so far, ``progress.csv``, and ``checkpoint.pt`` once a minute, at each evaluation and after Ctrl-C.

    Raises:
        GuideGymError: If there is a checkpoint and ``resume`` is False, it belongs to another run, or another process is
            training in the folder.
        KeyboardInterrupt: After Ctrl-C, once the checkpoint is written.
    """
    run = _Run(learner, test, settings, on_scalars or (lambda timesteps, scalars: None))
    with only_one(settings.out / ".lock", busy=f"another agent is being trained in {settings.out}; use another --out"):
        if run.checkpoint.path.is_file() and not resume:
            raise GuideGymError(
                f"{settings.out} holds a run; `--resume` continues it, another `--out` starts a new one"
            )
        run.checkpoint.load(run.restore)
        return run.go()


class _Run:
    """One agent in training."""

    def __init__(self, learner: Learner, test: Task, settings: LearnSettings, on_scalars: OnScalars) -> None:
        self.learner, self.test, self.settings, self.on_scalars = learner, test, settings, on_scalars
        self.checkpoint = Checkpoint(settings.out / CHECKPOINT, settings.identity)
        self.progress = Progress()
        self.episodes = draw_episodes(test, settings.eval_episodes, seed=0)

    def go(self) -> Progress:
        """Improve, evaluate and save until the number of environment steps is reached."""
        learner, total = self.learner, self.settings.timesteps
        with tqdm(total=total, initial=learner.timesteps, unit="step", unit_scale=True) as bar:
            keep_on(functools.partial(self._batch, bar), self.save, is_done=lambda: learner.timesteps >= total)
        return self.progress

    def _batch(self, bar: Any) -> bool:
        """Learn from one batch; return whether an evaluation was due and made."""
        learner, progress, before, began = self.learner, self.progress, self.learner.timesteps, time.monotonic()
        reward = learner.improve()
        if learner.timesteps <= before:
            raise GuideGymError(
                f"the agent made no environment step in a batch, after {before}; its settings allow none"
            )
        bar.update(learner.timesteps - bar.n)
        shown = {"reward": f"{reward:.4g}"}
        if progress.evaluations:
            shown["best held out"] = f"{progress.best:.4g}"
        bar.set_postfix(shown, refresh=False)
        self.on_scalars(learner.timesteps, {"train/reward": reward})
        due = self._is_due()
        if due:
            self._evaluate()
        progress.seconds += time.monotonic() - began
        return due

    def _is_due(self) -> bool:
        """Return whether an evaluation is due: every ``eval_every`` steps, and at the end."""
        last = self.progress.evaluations[-1][0] if self.progress.evaluations else 0
        now, every = self.learner.timesteps, self.settings.eval_every
        return now // every > last // every or now >= self.settings.timesteps

    def _evaluate(self) -> None:
        """Play the held-out episodes; save the policy, and save it as the best if it is."""
        policy, progress = self.learner.policy(), self.progress
        reward = float(play(self.test, follow(policy), *self.episodes).total.mean())
        guidance = as_guidance(self.test, policy)
        guidance.save(self.settings.out / AGENT)
        if reward > progress.best:
            guidance.save(self.settings.out / BEST)
        progress.evaluations.append((self.learner.timesteps, reward))
        lines = ["timesteps,held_out_reward", *(f"{steps},{value!r}" for steps, value in progress.evaluations)]
        write_atomically(self.settings.out / PROGRESS, ("\n".join(lines) + "\n").encode())
        self.on_scalars(self.learner.timesteps, {"held_out/reward": reward})

    def save(self) -> None:
        """Write the checkpoint."""
        self.checkpoint.save(
            {
                "learner": self.learner.state_dict(),
                "evaluations": [list(one) for one in self.progress.evaluations],
                "seconds": self.progress.seconds,
                "files": self._files(),
            }
        )

    def _paths(self) -> list[Path]:
        """Return the files of the policies."""
        paths = [self.settings.out / name for name in (AGENT, BEST)]
        return [*paths, *(path.with_suffix(".safetensors") for path in paths)]

    def _files(self) -> dict[str, Tensor]:
        """Return the content of the policies' files: a checkpoint can restore damaged ones."""
        return {
            path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            for path in self._paths()
            if path.is_file()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state, and rewrite policy files that differ from it."""
        self.learner.load_state_dict(state["learner"])
        evaluations = [(int(steps), float(reward)) for steps, reward in state["evaluations"]]
        self.progress = Progress(evaluations, finite_number("seconds", state["seconds"]))
        files = {name: bytes(content.numpy()) for name, content in state.get("files", {}).items()}
        for path in self._paths():
            if path.name in files and (not path.is_file() or path.read_bytes() != files[path.name]):
                write_atomically(path, files[path.name])
