"""The loop that trains an agent: evaluation on held-out episodes, checkpoints, resume, Ctrl-C."""

import io
import json
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
from guidegym.errors import FileFormatError, GuideGymError
from guidegym.guidance import Guidance, Policy
from guidegym.learning.learner import Learner
from guidegym.support.files import only_one, write_atomically
from guidegym.support.interrupts import hold_interrupts
from guidegym.support.settings import finite_number, plain_fields

CHECKPOINT = "checkpoint.pt"
AGENT = "agent.json"
"""The policy as it was last."""
BEST = "agent-best.json"
"""The policy that had the best held-out reward: of a few hundred episodes, so luck has a part in it."""
PROGRESS = "progress.csv"
CHECKPOINT_SECONDS = 60.0

OnScalars = Callable[[int, Mapping[str, float]], None]
"""Told, after each batch and each evaluation, how many rows were stepped and what was measured."""


@dataclass(frozen=True)
class LearnSettings:
    """How long an agent learns, and what is kept.

    Args:
        timesteps: Rows to step in all; the last batch may step a few more.
        out: Folder of the run.
        eval_every: Rows stepped between two evaluations.
        eval_episodes: Held-out episodes of an evaluation, always the same ones.
        identity: What makes two runs the same: agent, environment, seed.

    Raises:
        GuideGymError: If a number is out of range.
    """

    timesteps: int
    out: Path
    eval_every: int
    eval_episodes: int
    identity: str

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in ("timesteps", "eval_every", "eval_episodes"):
            if getattr(self, name) < 1:
                raise GuideGymError(f"must be >= 1, got {getattr(self, name)}", argument=name)


@dataclass
class Progress:
    """What a run knows of itself.

    Args:
        evaluations: Rows stepped and mean reward on the held-out episodes, at each evaluation.
        seconds: Time spent so far, interruptions left out.
    """

    evaluations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> float:
        """The best evaluation so far."""
        return max((reward for _, reward in self.evaluations), default=-float("inf"))


def as_guidance(task: Task, policy: Policy) -> Guidance:
    """Return the guidance that replays a policy of a task in plain sampling."""
    return Guidance(task.engine.guide, target=task.target, base_model=task.engine.base_model, policy=policy)


def learn(
    learner: Learner, test: Task, settings: LearnSettings, *, resume: bool = False, on_scalars: OnScalars | None = None
) -> Progress:
    """Train an agent to the end, or go on with it.

    Writes ``agent.json`` (a guidance file, its tensors beside it) at each evaluation, ``agent-best.json`` at each that is the
    best so far, ``progress.csv``, and ``checkpoint.pt`` once a minute, at each evaluation and after Ctrl-C.

    Args:
        learner: The agent.
        test: Its task on held-out episodes.
        settings: How long.
        resume: Whether to go on from a checkpoint; where there is none, it starts.
        on_scalars: Told what is measured.

    Raises:
        GuideGymError: If there is a checkpoint and ``resume`` is False, it belongs to another run, or another process trains
            in the folder.
        KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
    """
    run = _Run(learner, test, settings, on_scalars or (lambda timesteps, scalars: None))
    with only_one(settings.out / ".lock", busy=f"another agent is being trained in {settings.out}; use another --out"):
        if (settings.out / CHECKPOINT).is_file():
            if not resume:
                raise GuideGymError(
                    f"{settings.out} holds a run; `--resume` goes on with it, another `--out` starts anew"
                )
            run.load()
        return run.go()


class _Run:
    """One agent on its way."""

    def __init__(self, learner: Learner, test: Task, settings: LearnSettings, on_scalars: OnScalars) -> None:
        self.learner, self.test, self.settings, self.on_scalars = learner, test, settings, on_scalars
        self.progress = Progress()
        self.episodes = draw_episodes(test, settings.eval_episodes, seed=0)

    def go(self) -> Progress:
        """Improve, evaluate and save until enough rows were stepped."""
        learner, settings, progress = self.learner, self.settings, self.progress
        saved_at = began = time.monotonic()
        before = progress.seconds
        with (
            tqdm(total=settings.timesteps, initial=learner.timesteps, unit="step", unit_scale=True) as bar,
            hold_interrupts() as interrupted,
        ):
            while learner.timesteps < settings.timesteps and not interrupted():
                before_batch = learner.timesteps
                reward = learner.improve()
                if learner.timesteps <= before_batch:
                    raise GuideGymError(
                        f"the agent stepped no row in a batch, after {before_batch}; its settings allow none"
                    )
                progress.seconds = before + time.monotonic() - began
                bar.update(learner.timesteps - bar.n)
                shown = {"reward": f"{reward:.4g}"}
                if progress.evaluations:
                    shown["best held out"] = f"{progress.best:.4g}"
                bar.set_postfix(shown, refresh=False)
                self.on_scalars(learner.timesteps, {"train/reward": reward})
                if self._is_due():
                    self._evaluate()
                elif time.monotonic() - saved_at < CHECKPOINT_SECONDS:
                    continue
                self.save()
                saved_at = time.monotonic()
            if interrupted():
                self.save()
                raise KeyboardInterrupt
        return progress

    def _is_due(self) -> bool:
        """Return whether an evaluation is: one each ``eval_every`` rows, and one at the end."""
        last = self.progress.evaluations[-1][0] if self.progress.evaluations else 0
        now, every = self.learner.timesteps, self.settings.eval_every
        return now // every > last // every or now >= self.settings.timesteps

    def _evaluate(self) -> None:
        """Play the held-out episodes; keep the policy, and once more if it is the best so far."""
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
        """Write the checkpoint atomically."""
        state = {
            "identity": self.settings.identity,
            "learner": self.learner.state_dict(),
            "evaluations": [list(one) for one in self.progress.evaluations],
            "seconds": self.progress.seconds,
            "files": self._files(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.settings.out / CHECKPOINT, buffer.getvalue())

    def _files(self) -> dict[str, Tensor]:
        """Return the policies' files as they are: a checkpoint makes whole again what is damaged beside it."""
        paths = [self.settings.out / name for name in (AGENT, BEST)]
        paths += [path.with_suffix(".safetensors") for path in paths]
        return {
            path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            for path in paths
            if path.is_file()
        }

    def load(self) -> None:
        """Read the checkpoint, and write anew what files of policies beside it are not as it knows them.

        Raises:
            GuideGymError: If it belongs to another run.
            FileFormatError: If it cannot be read.
        """
        path = self.settings.out / CHECKPOINT
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            identity = state["identity"]
            same = json.loads(identity) == json.loads(self.settings.identity)
        except Exception as error:
            raise FileFormatError(f"{path} is not a readable checkpoint; remove it to start over") from error
        if not same:
            raise GuideGymError(
                f"{path} is of another agent, environment or seed: {_difference(identity, self.settings.identity)}; "
                "use another `--out`"
            )
        try:
            self.learner.load_state_dict(state["learner"])
            evaluations = [(int(steps), float(reward)) for steps, reward in state["evaluations"]]
            self.progress = Progress(evaluations, finite_number("seconds", state["seconds"]))
            files = {name: bytes(content.numpy()) for name, content in state.get("files", {}).items()}
        except Exception as error:  # what a learner of a user's raises is anybody's guess
            reason = f"{type(error).__name__} {error}"
            raise FileFormatError(f"{path} is damaged; remove it to start over: {reason}") from error
        for name in (AGENT, BEST, *(Path(own).with_suffix(".safetensors").name for own in (AGENT, BEST))):
            if name in files and (
                not (path.parent / name).is_file() or (path.parent / name).read_bytes() != files[name]
            ):
                write_atomically(path.parent / name, files[name])


def _difference(saved: str, given: str) -> str:
    """Return the first setting in which two identities differ."""
    before, now = json.loads(saved), json.loads(given)
    if not isinstance(before, dict):
        return "what it is of, it does not say"
    name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
    return f"{name} {before.get(name)} there, {now.get(name)} here"
