"""Finding a study or an agent: a shipped name, a dotted module, or a path to a Python file."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from guidegym.errors import GuideGymError
from guidegym.files import import_file


def shipped(package: str) -> list[str]:
    """Return the names of the modules of a package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def find_module(where: str, *, package: str, noun: str) -> ModuleType:
    """Import a shipped module, a dotted one, or a user's file.

    Args:
        where: What the user named.
        package: Where the shipped ones are.
        noun: What an error calls them.

    Raises:
        GuideGymError: If there is no such module. An error inside it is left as it is.
    """
    unknown = GuideGymError(
        f"unknown {noun} '{where}'; shipped are {', '.join(shipped(package))}; "
        "a dotted module or a path to a .py file will do, too"
    )
    if where.endswith(".py") or "/" in where:
        return import_file(Path(where))
    if not where or where.startswith("."):
        raise unknown
    name = where if "." in where else f"{package}.{where}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only that very module missing means that the user's name is unknown.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise unknown from error
        raise
