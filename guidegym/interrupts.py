"""Ctrl-C at a place where it does no harm."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def hold_interrupts() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back: the body asks at its safe points whether there was one. A second one is not held back.

    Half a training step must not be saved, and a storage must not be left amid a query. Where Ctrl-C is ignored, as under
    ``nohup``, it stays so; in another thread than the main one nothing can be held back.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)
