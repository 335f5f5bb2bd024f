"""How a command ends: its own exit code, 2 with one line for bad input, 130 after Ctrl-C."""

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from guidegym.errors import GuideGymError
from guidegym.support.settings import shown

BAD_INPUT = 2
INTERRUPTED = 130
LIBRARIES = ("cyclopts", "rich")
"""Libraries that may call ``sys.exit`` while parsing a command line; they have already printed their message."""


def run(body: Callable[[], int]) -> int:
    """Run the body of a command and return its exit code: its own, 2 for bad input, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name may contain characters outside the terminal's encoding
    try:
        code = body()
        sys.stdout.flush()
        return code
    except SystemExit as error:
        origin = _raised_in(error)
        if not origin:
            raise
        print(f"error: {origin} called `sys.exit` with {shown(error.code)}", file=sys.stderr)
        return BAD_INPUT
    except GuideGymError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed the pipe.
        _let_go_of_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _let_go_of_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return BAD_INPUT


def _let_go_of_output() -> None:
    """Discard the remaining output: Python would raise again when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _raised_in(error: BaseException) -> str:
    """Return the file and line where an exception was raised; empty for the command-line libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or any(name in Path(frames[-1].filename).parts for name in LIBRARIES):
        return ""
    return f"{frames[-1].filename}:{frames[-1].lineno}"
