"""User code: files and modules are imported only if a user names them, never because a file does."""

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
"""Prefix of the module names of users' files."""
ENTRY_POINTS = "guidegym.parts"
"""Entry point group of installed packages, imported before a part is looked up."""
_IMPORTED: list[str] = []
"""Files and modules imported for their parts."""
_FILES: dict[str, str] = {}
"""Paths, as given, of all imported users' files, by file name."""


def import_file(path: Path) -> ModuleType:
    """Import a user's Python file; an already imported and unchanged file is not run again.

    Raises:
        GuideGymError: If there is no such file. Errors raised inside it are not caught.
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
    sys.modules[name] = module  # dataclasses look up their module by name
    spec.loader.exec_module(module)
    vars(module)["__digest__"] = digest
    _FILES[path.name] = str(path)
    return module


def is_file(where: str) -> bool:
    """Return whether a user names a Python file rather than a module."""
    return where.endswith(".py") or "/" in where


def import_module(where: str) -> ModuleType | None:
    """Import a dotted module; None if this very module is missing."""
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            return None
        raise


def import_parts(where: str) -> ModuleType:
    """Import a user's parts, so that they register themselves: a Python file, or a dotted module.

    Raises:
        GuideGymError: If there is no such file or module. Errors raised inside it are not caught.
    """
    if not where:
        raise GuideGymError("needs a Python file or a module", argument="--import")
    module = import_file(Path(where)) if is_file(where) else import_module(where)
    if module is None:
        raise GuideGymError(f"no module {where!r}, and it is not a path to a .py file")
    if where not in _IMPORTED:
        _IMPORTED.append(where)
    return module


def import_flags(naming: str) -> str:
    """Return the flags of a command that needs the same parts, each followed by a space.

    Args:
        naming: Text that names the command's parts; users' files with named parts are imported, too.
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
    """Import the parts listed by installed packages, once."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        _import_entry_point(point)


def _import_entry_point(point: importlib.metadata.EntryPoint) -> None:
    """Import one entry point; a fault in another package must not break ours."""
    try:
        point.load()
    except Exception as error:
        warnings.warn(f"parts of '{point.value}' cannot be imported: {error}", UserWarning, stacklevel=2)
