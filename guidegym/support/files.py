"""Files: written so that a reader never sees half of one, held by one process, and read in one way."""

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
"""Names of files that are being written: whose process is gone, or which are a day old, will never be finished."""
DAY = 24 * 3600.0
LONGEST_NAME = 80
"""Letters of a name that the name of its file keeps."""


def _host() -> str:
    """Return this machine's name as a file's name may have it."""
    return "".join(letter for letter in socket.gethostname().lower() if letter.isascii() and letter.isalnum())[:40]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there, and somebody else's
    return True


@functools.lru_cache(maxsize=256)
def _sweep(folder: Path) -> None:
    """Remove what killed runs left unfinished in a folder; once per process and folder."""
    for path in folder.glob(".guidegym-*.part"):
        match = UNFINISHED.fullmatch(path.name)
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > DAY
            if match and (old or (match["host"] == _host() and not _is_alive(int(match["process"])))):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def unfinished_prefix(folder: Path) -> str:
    """Return how names of files begin that are being written in a folder; what dead processes left there is removed.

    Such names end in ``.part``.
    """
    _sweep(folder)
    return f".guidegym-{_host()}-{os.getpid()}-"


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` by way of a temporary file beside it and a rename.

    A crash leaves either the old file or the new one, and a temporary one that the next run removes. Missing parent folders
    are made.

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
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp makes the file private; a result is as readable as any other
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise GuideGymError(f"{path} cannot be written: {error.strerror}") from error
        raise


def write_or_remove(path: Path, content: bytes | None) -> None:
    """Write ``content`` atomically; where there is none, remove an earlier run's file, which would pass for this one's.

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
    """Make a folder for files to come, so that a place they cannot go to is found before the work and not after.

    Raises:
        GuideGymError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise GuideGymError(f"{path} cannot be written: {error.strerror}") from error
    _sweep(path)


def file_name(name: str) -> str:
    """Return a name as a file's: its ASCII letters, digits and ``.=_``, with dashes for all else, cut short; it may be empty."""
    kept = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in ".=_" else "-" for letter in name)
    return "-".join(part for part in kept.split("-") if part).lstrip(".")[:LONGEST_NAME]


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Return a file name for each name; those that would be alike, on any file system, carry a digest of the name."""
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
    """Hold a lock file for this process; the system lets go of it even after a kill.

    Args:
        lock: The file, which stays; its folder is made.
        busy: What is said where another process holds it.

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
        except ImportError:  # Windows has no fcntl; there two runs in one folder are the user's to avoid
            pass
        except BlockingIOError as error:
            raise GuideGymError(busy) from error
        except OSError as error:
            raise GuideGymError(f"{lock.parent} cannot be locked: {error.strerror}") from error
        yield


def parse_json(text: str, source: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        FileFormatError: If it is not JSON, is nested too deeply, or holds a number of thousands of digits.
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
    """Return what a JSON file holds.

    Raises:
        FileFormatError: If it cannot be read, is not UTF-8, or not JSON; see ``parse_json``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FileFormatError(f"{path} cannot be read: {reason}") from error
    return parse_json(text, str(path))
