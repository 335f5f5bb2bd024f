"""Checkpoints: files from which interrupted runs resume, and the loop that writes them."""

import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.support.files import write_atomically
from guidegym.support.interrupts import hold_interrupts

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Checkpoint:
    """A file from which an interrupted run resumes.

    Args:
        path: The file.
        identity: The settings that identify a run, by name: a run resumes only from a checkpoint with equal ones.
    """

    path: Path
    identity: Mapping[str, Any]

    def save(self, state: Mapping[str, Any]) -> None:
        """Write tensors, numbers, strings, and lists and mappings of them, atomically."""
        buffer = io.BytesIO()
        torch.save({**state, "identity": self._text()}, buffer)
        write_atomically(self.path, buffer.getvalue())

    def load(self, restore: Callable[[dict[str, Any]], None], *, device: torch.device | str = "cpu") -> bool:
        """Pass the saved state to ``restore``; return whether there was one.

        Raises:
            GuideGymError: If the file belongs to another run: it is never overwritten silently.
            FileFormatError: If it cannot be read, or ``restore`` cannot use it.
        """
        if not self.path.is_file():
            return False
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            saved, own = json.loads(state["identity"]), json.loads(self._text())
        except Exception as error:
            raise FileFormatError(f"{self.path} is not a readable checkpoint; remove it to start over") from error
        if saved != own:
            raise GuideGymError(
                f"{self.path} belongs to another run: {_difference(saved, own)}; remove it or use another --out"
            )
        try:
            restore(state)
        except Exception as error:  # user-defined agents and losses may raise anything
            reason = f"{type(error).__name__} {error}"
            raise FileFormatError(f"{self.path} is damaged; remove it to start over: {reason}") from error
        return True

    def _text(self) -> str:
        return json.dumps(dict(self.identity), sort_keys=True, default=str)


def _difference(saved: Any, own: Mapping[str, Any]) -> str:
    """Return the first setting in which two identities differ."""
    if not isinstance(saved, dict):
        return "it does not record which"
    name = next(name for name in {**saved, **own} if saved.get(name) != own.get(name))
    return f"{name} {saved.get(name)} there, {own.get(name)} here"


def keep_on(step: Callable[[], bool], save: Callable[[], None], *, is_done: Callable[[], bool]) -> None:
    """Run steps to the end; save once a minute, after each step that requests it, and at the end.

    Args:
        step: Takes one step, and returns whether to save.
        save: Writes the checkpoint.
        is_done: Returns whether the end is reached.

    Raises:
        KeyboardInterrupt: After Ctrl-C or ``SIGTERM``, once the current step is done and saved.
    """
    saved_at, is_saved = time.monotonic(), False
    with hold_interrupts() as interrupted:
        while not is_done() and not interrupted():
            is_saved = step() or time.monotonic() - saved_at >= CHECKPOINT_SECONDS
            if is_saved:
                save()
                saved_at = time.monotonic()
        if not is_saved:
            save()
        if interrupted():
            raise KeyboardInterrupt
