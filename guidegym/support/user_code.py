"""Code of users: files and modules that are imported because a user names them, and never because a file does."""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import shlex
import sys
import warnings
from pathlib import Path
from types import ModuleType

from guidegym.errors import GuideGymError

USER_MODULE = "guidegym_user_"
"""What the modules of users' files are called, before the file's own name."""
ENTRY_POINTS = "guidegym.parts"
"""Entry points of installed packages under this name are imported before a part is looked up."""
_IMPORTED: list[str] = []
"""What was imported for its parts."""
_FILES: dict[str, str] = {}
"""Users' files that were imported for anything, by their names: the path of each as it was given."""


def import_file(path: Path) -> ModuleType:
    """Import a user's Python file; one that was imported already, and has not changed since, is not run again.

    Raises:
        GuideGymError: If there is no such file. An error inside it is left as it is.
    """
    if not path.is_file() or path.suffix != ".py":
        raise GuideGymError(f"no Python file {path}")
    place = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name, digest = f"{USER_MODULE}{path.stem}_{place}", hashlib.sha256(path.read_bytes()).hexdigest()
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__digest__", None) == digest:
        return before
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise GuideGymError(f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by its name
    spec.loader.exec_module(module)
    vars(module)["__digest__"] = digest
    _FILES[path.name] = str(path)
    return module


def is_file(where: str) -> bool:
    """Return whether a user means a Python file, and not a module."""
    return where.endswith(".py") or "/" in where


def import_module(where: str) -> ModuleType | None:
    """Import a dotted module; None where it is that very module that is missing."""
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            return None
        raise


def import_parts(where: str) -> ModuleType:
    """Import a user's parts, so that they register themselves: a Python file, or a dotted module.

    Raises:
        GuideGymError: If there is no such file or module. An error inside it is left as it is.
    """
    if not where:
        raise GuideGymError("needs a Python file or a module", argument="--import")
    module = import_file(Path(where)) if is_file(where) else import_module(where)
    if module is None:
        raise GuideGymError(f"no module {where!r}, and no path to a .py file")
    if where not in _IMPORTED:
        _IMPORTED.append(where)
    return module


def import_flags(naming: str) -> str:
    """Return the flags of a command that needs the same parts, each with a space behind it.

    Args:
        naming: What the command is about; users' files whose parts it names are imported, too.
    """
    named = [path for file, path in _FILES.items() if f"{file}:" in naming]
    return "".join(f"--import {shlex.quote(where)} " for where in dict.fromkeys([*_IMPORTED, *named]))


def loaded_file(name: str) -> ModuleType | None:
    """Return the imported user's file of that name, whatever its folder."""
    users = [module for key, module in list(sys.modules.items()) if key == "__main__" or key.startswith(USER_MODULE)]
    files = {Path(file).name: module for module in users if (file := getattr(module, "__file__", None))}
    return files.get(Path(name).name)


@functools.cache
def import_entry_points() -> None:
    """Import what installed packages list as their parts, once."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        _import_entry_point(point)


def _import_entry_point(point: importlib.metadata.EntryPoint) -> None:
    """Import one; somebody else's package must not keep ours from working."""
    try:
        point.load()
    except Exception as error:
        warnings.warn(f"parts of '{point.value}' cannot be imported: {error}", UserWarning, stacklevel=2)
