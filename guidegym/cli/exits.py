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
"""What may end the program by ``sys.exit`` on a command line's behalf: it has said what there is to say."""


def run(body: Callable[[], int]) -> int:
    """Run the body of a command and return its exit code: its own, 2 for bad input, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold what the terminal's encoding does not
    try:
        code = body()
        sys.stdout.flush()
        return code
    except SystemExit as error:
        origin = _raised_in(error)
        if not origin:
            raise
        print(f"error: {origin} ended the program by `sys.exit`, with {shown(error.code)}", file=sys.stderr)
        return BAD_INPUT
    except GuideGymError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough of it.
        _let_go_of_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _let_go_of_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return BAD_INPUT


def _let_go_of_output() -> None:
    """Send what is left of the output nowhere: Python would complain once more when it flushes at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _raised_in(error: BaseException) -> str:
    """Return the file and line that an exception comes from; empty for the libraries of the command line."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or any(name in Path(frames[-1].filename).parts for name in LIBRARIES):
        return ""
    return f"{frames[-1].filename}:{frames[-1].lineno}"
