"""What the commands of the package share: devices, and one line with exit code 2 for bad input."""

import argparse
import contextlib
import errno
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from guidegym.diffusion import Sampler, make_sampler
from guidegym.errors import FileFormatError, GuideGymError, one_line
from guidegym.registry import find, names
from guidegym.search.address import without_passwords
from guidegym.settings import shown

INTERRUPTED = 130
STEPS = {"ddim": 15, "ddpm": 100}
"""Reverse steps by default, where they are fewer than the sampler's own default."""


class Parser(argparse.ArgumentParser):
    """A parser of flags whose errors are one line, without passwords; ``--help`` tells the rest."""

    words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words, and remember them for errors."""
        self.words = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error and leave with exit code 2."""
        # An unknown flag is echoed with its value, and a known one's may stand behind an equals sign.
        values = [part for word in self.words for part in (word.partition("=")[2], word) if re.search("://|@", part)]
        self.exit(2, f"error: {one_line(without_passwords(message, values))}; see --help\n")


def run_command(
    body: Callable[[Sequence[str] | None], int],
    argv: Sequence[str] | None = None,
    *,
    flags: Mapping[str, str] | None = None,
) -> int:
    """Run a command's body and return its exit code: its own, 2 for bad input, 130 after Ctrl-C.

    Args:
        body: What the command does.
        argv: Its arguments; None for those of the process.
        flags: Names of arguments that errors speak of, and the flags that set them: the user knows the flags.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold what the terminal's encoding does not
    words = {word.split("=")[0] for word in (sys.argv[1:] if argv is None else argv)}
    given = {name: flag for name, flag in (flags or {}).items() if flag in words}
    try:
        code = body(argv)
        sys.stdout.flush()
        return code
    except SystemExit as error:
        origin = _raised_in(error)
        if not origin:
            raise
        print(f"error: {origin} ended the program by `sys.exit`, with {shown(error.code)}", file=sys.stderr)
        return 2
    except GuideGymError as error:
        # A file's own names are the file's: only what came by flags is called by them.
        names = {} if isinstance(error, FileFormatError) else given
        text = re.sub(r"`(\w+)`", lambda found: f"`{names.get(found[1], found[1])}`", str(error))
        print(f"error: {text}", file=sys.stderr)
        return 2
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
        return 2


def _let_go_of_output() -> None:
    """Send what is left of the output nowhere: Python would complain once more when it flushes at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _raised_in(error: BaseException) -> str:
    """Return the file and line that an exception comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename == argparse.__file__:
        return ""  # the parser's own: it has said what there is to say
    return f"{frames[-1].filename}:{frames[-1].lineno}"


def not_empty(text: str) -> str:
    """Return a flag's value, which must not be empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def folder(text: str) -> Path:
    """Return a flag's value as a path, which must not be empty."""
    return Path(not_empty(text))


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


def add_sampler(parser: argparse._ActionsContainer) -> None:
    """Add the flags of a diffusion sampler: ``--sampler``, ``--steps``, ``--eta`` and ``--sampler-kwargs``."""
    parser.add_argument("--steps", type=int, help="reverse steps (default: what suits the sampler; 15 for ddim)")
    parser.add_argument(
        "--sampler",
        default="ddim",
        help=f"diffusion sampler: {', '.join(names('sampler'))}, or a reference (default: ddim)",
    )
    parser.add_argument(
        "--sampler-kwargs",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="further settings of the sampler, such as snr=0.1",
    )
    parser.add_argument("--eta", type=float, help="noise of ddim, 0 to 1 (default: 1)")


def read_sampler(arguments: argparse.Namespace) -> Sampler:
    """Return the diffusion sampler that the flags of ``add_sampler`` say.

    Raises:
        GuideGymError: If they do not fit each other, or a setting is out of range.
    """
    default = STEPS.get(arguments.sampler, find("sampler", arguments.sampler)().num_steps)
    steps = default if arguments.steps is None else arguments.steps
    if arguments.sampler != "ddim" and arguments.eta is not None:
        raise GuideGymError(f"`--eta` belongs to ddim, got {arguments.eta} with {arguments.sampler}")
    settings = parse_pairs(arguments.sampler_kwargs, "--sampler-kwargs")
    if arguments.eta is not None and "eta" in settings:
        raise GuideGymError("`--eta` and `--sampler-kwargs eta` say the same thing: give one of them")
    if arguments.sampler == "ddim":
        settings = {"eta": 1.0 if arguments.eta is None else arguments.eta, **settings}
    return make_sampler({"kind": arguments.sampler, **settings}, steps)


def parse_value(text: str, flag: str) -> Any:
    """Return what a JSON text says; one that does not look like JSON is a text itself.

    Raises:
        GuideGymError: If it begins as an object, a list or a quoted text, and is broken.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise GuideGymError(f"`{flag}` is not complete JSON: {error.msg}, got {shown(text)}") from error
        return text
    except (RecursionError, ValueError) as error:
        raise GuideGymError(f"`{flag}` is nested too deeply or too long a number, got {shown(text)}") from error


def parse_pairs(given: Sequence[str], flag: str) -> dict[str, Any]:
    """Return ``NAME=VALUE`` texts as a dictionary; see ``parse_value``.

    Raises:
        GuideGymError: If a text has no ``=``, a name comes twice, or a value is broken JSON.
    """
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise GuideGymError(f"`{flag}` must be NAME=VALUE, got {text!r}")
        if name in pairs:
            raise GuideGymError(f"`{flag}` has `{name}` twice")
        pairs[name] = parse_value(value, f"{flag} {name}")
    return pairs
