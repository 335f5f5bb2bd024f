"""What the commands of the package share: devices, and one line with exit code 2 for bad input."""

import argparse
import sys
from collections.abc import Callable, Sequence

import torch

from guidegym.errors import GuideGymError

INTERRUPTED = 130


def run_command(body: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's body and return its exit code: its own, 2 for bad input, 130 after Ctrl-C."""
    try:
        return body(argv)
    except GuideGymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, by default the GPU where there is one."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help=f"torch device (default here: {default})")


def check_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        GuideGymError: If torch cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).cpu()  # the noise is made in float64
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise GuideGymError(f"`--device` must be one that torch can use here, got {name!r}: {reason}") from error
    return device
