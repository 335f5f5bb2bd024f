import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import config

from guidegym import Testbed, load_testbed
from guidegym.testbeds.gaussians import load_gaussians

# A busy machine is no error.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers that each use all cores wait for each other most of the time; what they start inherits this.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


LONGEST = ("test_readme.py", "test_claims.py", "test_stops.py", "test_run.py", "test_side_by_side.py")
"""Files that take minutes. They come first: begun last, they would keep one worker busy while the others have nothing to do."""


FULL = "not run: takes minutes of its own; `pytest --full` and `.ci/run --full` (nightly) run it"


CHECKED = 0.25
"""Seconds of every test in which its calls are checked against their annotations."""
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30


def pytest_configure() -> None:
    """Keep the tests' folders in memory where there is room: a search waits for the disk hundreds of times, 20 ms on some."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that runs what is run at night only."""
    parser.addoption(
        "--full", action="store_true", help="run the tests marked `full`, too: the README's main job as it is"
    )


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Say at the end what was left out for want of ``--full``."""
    left_out = [one for one in terminalreporter.stats.get("skipped", []) if FULL in str(one.longrepr)]
    for one in left_out:
        terminalreporter.write_line(f"NOT RUN without --full: {one.nodeid}", yellow=True, bold=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring the longest files to the front, in the order that they otherwise have, and leave out what is run at night."""
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason=FULL))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> None:
    """Undo what a shell does to its background jobs: they, and all they start, ignore signals that some tests are about."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def exact() -> Testbed:
    """The gaussians testbed in float64: an oracle."""
    return load_gaussians(torch.device("cpu"), dtype=torch.float64)


@pytest.fixture(scope="session")
def fashion() -> Testbed:
    """The fashion testbed with its shipped weights."""
    return load_testbed("fashion")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the checks of annotations off, as they are for a user: what is then said is the package's own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _annotations_are_checked_at_first() -> Iterator[None]:
    """Check annotations at first only: a longer test makes the same calls again, and checks are a third of its time."""
    timer = threading.Timer(CHECKED, config.update, ("jaxtyping_disable", True))
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()
    config.update("jaxtyping_disable", False)
