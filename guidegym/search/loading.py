"""Finding a study: a shipped name, a dotted module, or a path to a Python file."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from guidegym.errors import GuideGymError
from guidegym.files import import_file
from guidegym.search.study import Study


def shipped_studies() -> list[str]:
    """Return the names of the shipped studies."""
    package = importlib.import_module("guidegym.studies")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def _import_module(name: str) -> ModuleType:
    """Import a study's module; only that very module missing means that the study is unknown."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise GuideGymError(
                f"unknown study '{name.removeprefix('guidegym.studies.')}'; shipped are "
                f"{', '.join(shipped_studies())}; a dotted module or a path to a .py file will do, too"
            ) from error
        raise


def load_study(where: str, *, testbed: str | None = None) -> Study:
    """Load a study.

    Args:
        where: A shipped name, a dotted module, or a path to a Python file; each has a function ``study()`` that returns
            a ``Study`` and takes the name of a testbed.
        testbed: The testbed to make it for; None for the study's own.

    Raises:
        GuideGymError: If there is no such study, or its file has no such function. An error inside the study's own
            file is left as it is.
    """
    if where.startswith(".") and not where.endswith(".py"):
        raise GuideGymError(f"unknown study '{where}'; shipped are {', '.join(shipped_studies())}")
    if where.endswith(".py") or "/" in where:
        module = import_file(Path(where))
    elif "." in where:
        module = _import_module(where)
    else:
        module = _import_module(f"guidegym.studies.{where}")
    make = getattr(module, "study", None)
    if not callable(make):
        raise GuideGymError(f"{where} has no function `study`")
    if testbed is not None and not inspect.signature(make).parameters:
        raise GuideGymError(f"`study` of {where} takes no testbed, got {testbed!r}")
    study = make() if testbed is None else make(testbed)
    if not isinstance(study, Study):
        raise GuideGymError(f"`study` of {where} must return a guidegym.search.Study, got {type(study).__name__}")
    return study
