"""Parallel trainings, each in its own process: small networks leave most of a machine idle."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from guidegym.errors import GuideGymError
from guidegym.support.interrupts import STOPS, hold_interrupts

POLL_SECONDS = 0.2


def _prepare(threads: int) -> None:
    """Set up a worker: its share of the threads, and signal handling only where a training waits for signals.

    Ctrl-C and the hang-up of a terminal go to the whole process group: the parent handles them and passes them on as
    ``SIGTERM``. An idle worker must not die of that, as the broken pool would kill the others before they have saved.
    """
    torch.set_num_threads(threads)
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)


def side_by_side(
    work: Callable[[str], str], needs: Mapping[str, Sequence[str]], *, jobs: int, threads: int
) -> Iterator[tuple[str, str]]:
    """Run tasks in separate processes, each after those that it needs, and yield name and result as they finish.

    After an error, Ctrl-C or ``SIGTERM`` no new task starts. Running tasks are finished after an error, and get a ``SIGTERM``
    after the other two.

    Args:
        work: Runs the task of a name; it must be picklable.
        needs: For each name, in starting order, the names that must finish before.
        jobs: Number of processes, >= 1.
        threads: Threads per process.

    Raises:
        KeyboardInterrupt: If it was interrupted.
        GuideGymError: If a process was killed.
        Exception: The exception of the first failing task.
    """
    waiting, running, ended = dict(needs), dict[Future[str], str](), set[str]()
    failure: BaseException | None = None
    with (
        hold_interrupts() as interrupted,
        ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(threads,)
        ) as pool,
    ):
        while running or (waiting and failure is None):
            ready = [name for name, before in waiting.items() if ended.issuperset(set(before) & needs.keys())]
            for name in ready[: jobs - len(running)] if failure is None else []:
                running[pool.submit(work, name)] = name
                del waiting[name]
            for future in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                name, error = running.pop(future), future.exception()
                ended.add(name)
                if error is None:
                    yield name, future.result()
                failure = failure or error
            if interrupted():
                failure = KeyboardInterrupt()
                # Repeatedly: a worker that is still loading its data does not handle it yet.
                for process in multiprocessing.active_children():
                    process.terminate()
    if isinstance(failure, BrokenProcessPool):
        raise GuideGymError("a training process was killed, perhaps for lack of memory") from failure
    if failure is not None:
        raise failure
