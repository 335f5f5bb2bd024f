"""Ctrl-C, the ``SIGTERM`` of a batch system, and the ``SIGHUP`` of a closed terminal, at a place where they do no harm."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a run to stop; Windows has no ``SIGHUP``."""


@contextmanager
def hold_interrupts() -> Iterator[Callable[[], bool]]:
    """Hold them back: the body asks at its safe points whether there was one. A second one is not held back.

    Half a training step must not be saved, and a storage must not be left amid a query. Where one is ignored, as Ctrl-C is
    under ``nohup``, it stays so; in another thread than the main one nothing can be held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    held = {number: signal.getsignal(number) for number in STOPS}
    held = {number: before for number, before in held.items() if before is not signal.SIG_IGN}
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(number, held[signal.Signals(number)])

    for number in held:
        signal.signal(number, note)
    try:
        yield lambda: bool(noted)
    finally:
        for number, before in held.items():
            signal.signal(number, before)
