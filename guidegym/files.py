"""Files: written so that a reader never sees half of one; a user's Python file imported by its path."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from guidegym.errors import GuideGymError


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` by way of a temporary file beside it and a rename.

    A crash leaves either the old file or the new one. Missing parent folders are made.

    Raises:
        GuideGymError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def import_file(path: Path) -> ModuleType:
    """Import a user's Python file.

    Raises:
        GuideGymError: If there is no such file. An error inside it is left as it is.
    """
    if not path.is_file() or path.suffix != ".py":
        raise GuideGymError(f"no Python file {path}")
    name = f"guidegym_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise GuideGymError(f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by its name
    spec.loader.exec_module(module)
    return module
