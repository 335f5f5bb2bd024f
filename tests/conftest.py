import signal

import pytest
import torch

from guidegym import Testbed, load_testbed
from guidegym.testbeds.gaussians import load_gaussians


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> None:
    """Undo what a shell does to its background jobs: they, and all they start, ignore Ctrl-C, which some tests are about."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def exact() -> Testbed:
    """The gaussians testbed in float64: an oracle."""
    return load_gaussians(torch.device("cpu"), dtype=torch.float64)


@pytest.fixture(scope="session")
def fashion() -> Testbed:
    """The fashion testbed with its shipped weights."""
    return load_testbed("fashion")
