"""Files: atomic writes, locks that one process holds, and reading of JSON."""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from guidegym.errors import FileFormatError, GuideGymError

UNFINISHED = re.compile(r"\.guidegym-(?P<host>[0-9a-z]*)-(?P<process>[0-9]+)-\w+\.part")
"""Names of files that are being written; those whose process has ended, or that are a day old, are abandoned."""
DAY = 24 * 3600.0
LONGEST_NAME = 80
"""Maximum number of characters of a name in its file name."""


def _host() -> str:
    """Return this machine's name in characters that are valid in file names."""
    return "".join(letter for letter in socket.gethostname().lower() if letter.isascii() and letter.isalnum())[:40]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists and belongs to another user
    return True


@functools.lru_cache(maxsize=256)
def _sweep(folder: Path) -> None:
    """Remove unfinished files of killed runs from a folder, once per process and folder."""
    for path in folder.glob(".guidegym-*.part"):
        match = UNFINISHED.fullmatch(path.name)
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > DAY
            if match and (old or (match["host"] == _host() and not _is_alive(int(match["process"])))):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def unfinished_prefix(folder: Path) -> str:
    """Return the prefix of files that are being written in a folder, after removing those of dead processes.

    Such names end in ``.part``.
    """
    _sweep(folder)
    return f".guidegym-{_host()}-{os.getpid()}-"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a temporary file beside it and a rename.

    A crash leaves either the old file or the new one, and a temporary one that the next run removes. Missing parent folders
    are created.

    Raises:
        GuideGymError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=unfinished_prefix(path.parent), suffix=".part")
    except OSError as error:
        raise GuideGymError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp makes the file private; restore the usual permissions
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise GuideGymError(f"{path} cannot be written: {error.strerror}") from error
        raise


def write_or_remove(path: Path, content: bytes | None) -> None:
    """Write ``content`` atomically; if it is None, remove an earlier run's file, which could be mistaken for this run's.

    Raises:
        GuideGymError: If the file cannot be written or removed.
    """
    if content is not None:
        write_atomically(path, content)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise GuideGymError(f"{path} cannot be removed: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Create a folder for later files, so that an unwritable place is reported before the work starts.

    Raises:
        GuideGymError: If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise GuideGymError(f"{path} cannot be written: {error.strerror}") from error
    _sweep(path)


def file_name(name: str) -> str:
    """Return a file name for a name: ASCII letters, digits and ``.=_``, dashes for all else, truncated; it may be empty."""
    kept = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in ".=_" else "-" for letter in name)
    return "-".join(part for part in kept.split("-") if part).lstrip(".")[:LONGEST_NAME]


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Return a file name for each name; those that would collide, on any file system, get a digest of the name."""
    plain = {name: file_name(name) for name in names}
    taken = [own.casefold() for own in plain.values()]
    return {
        name: own
        if own and taken.count(own.casefold()) == 1
        else f"{own}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".lstrip("-")
        for name, own in plain.items()
    }


@contextlib.contextmanager
def only_one(lock: Path, *, busy: str) -> Iterator[None]:
    """Hold a lock file for this process; the system releases it even after a kill.

    Args:
        lock: The file, which is kept; its folder is created.
        busy: The error message if another process holds it.

    Raises:
        GuideGymError: If another process holds it, or it cannot be written.
    """
    make_folder(lock.parent)
    try:
        file = lock.open("w")
    except OSError as error:
        raise GuideGymError(f"{lock.parent} cannot be written: {error.strerror}") from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows has no fcntl; there the user must avoid two runs in one folder
            pass
        except BlockingIOError as error:
            raise GuideGymError(busy) from error
        except OSError as error:
            raise GuideGymError(f"{lock.parent} cannot be locked: {error.strerror}") from error
        yield


def parse_json(text: str, source: str) -> Any:
    """Parse a JSON text.

    Raises:
        FileFormatError: If it is not JSON, is nested too deeply, or contains a number with thousands of digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"{source} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise FileFormatError(f"{source} is nested too deeply or contains too long a number") from error


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FileFormatError: If it cannot be read, is not UTF-8, or not JSON; see ``parse_json``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FileFormatError(f"{path} cannot be read: {reason}") from error
    return parse_json(text, str(path))
