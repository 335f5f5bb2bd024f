"""Deferred handling of Ctrl-C, the ``SIGTERM`` of a batch system, and the ``SIGHUP`` of a closed terminal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a run to stop; Windows has no ``SIGHUP``."""


@contextmanager
def hold_interrupts() -> Iterator[Callable[[], bool]]:
    """Defer stop signals: the body checks for one at its safe points. A second signal is not deferred.

    Half a training step must not be saved, and a storage query must not be interrupted. Ignored signals, such as Ctrl-C under
    ``nohup``, stay ignored; outside the main thread no signal can be deferred.
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
