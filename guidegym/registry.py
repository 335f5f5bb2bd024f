"""The registry of all parts that files and command lines can name, shipped or user-defined.

A part is found by the name it was registered under, or by a reference, ``package.module:Name`` or ``path/to/file.py:Name``. A
file never runs code: its references are resolved only in code that the user has imported.
"""

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from guidegym.errors import GuideGymError
from guidegym.support.settings import check_name
from guidegym.support.user_code import (
    USER_MODULE,
    import_entry_points,
    import_file,
    import_module,
    is_file,
    loaded_file,
)

Part = TypeVar("Part")


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Args:
        home: Package whose modules register the shipped parts of the kind as they are imported.
        attribute: Attribute to use of a module or file that is named without ``:Name``; empty if the name is required.
        modular: Whether each shipped part is a module of ``home`` with that attribute: such modules are imported one by one,
            on demand.
        also: Another package whose modules register more parts.
        among: The kind whose names it shares, as a wrapper is a guide.
    """

    home: str
    attribute: str = ""
    modular: bool = False
    also: str = ""
    among: str = ""


KINDS: Mapping[str, Kind] = {
    "guide": Kind("guidegym.guidance"),
    "wrapper": Kind("guidegym.guidance", among="guide"),
    "base_model": Kind("guidegym.guidance"),
    "target": Kind("guidegym.guidance"),
    "schedule": Kind("guidegym.guidance"),
    "process": Kind("guidegym.diffusion"),
    "sampler": Kind("guidegym.diffusion"),
    "objective": Kind("guidegym.objectives", also="guidegym.evaluation.measuring"),
    "testbed": Kind("guidegym.testbeds", attribute="testbed"),
    "environment": Kind("guidegym.envs"),
    "agent": Kind("guidegym.agents", attribute="learner", modular=True),
    "study": Kind("guidegym.studies", attribute="study", modular=True),
    "claim": Kind("guidegym.claims", attribute="claim"),
}
"""Every kind of part."""

_PARTS: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
_CONTRACTS: dict[type, str] = {}


def _known(kind: str) -> str:
    """Return the kind under which a kind's names are stored.

    Raises:
        GuideGymError: If there is no such kind.
    """
    if kind not in KINDS:
        raise GuideGymError(f"unknown kind of part {kind!r}; the kinds are {', '.join(KINDS)}")
    return KINDS[kind].among or kind


def contract(kind: str) -> Callable[[type[Part]], type[Part]]:
    """Declare a protocol that every part of a kind must satisfy; a field of that type contains such a part."""

    def declare(protocol: type[Part]) -> type[Part]:
        _CONTRACTS[protocol] = _known(kind)
        return protocol

    return declare


def kind_of_contract(hint: object) -> str | None:
    """Return the kind of part that a protocol declares, None for any other type."""
    return _CONTRACTS.get(hint) if isinstance(hint, type) else None


def register(kind: str, name: str) -> Callable[[Part], Part]:
    """Return a decorator that gives a part a name for files and command lines.

    Args:
        kind: One of ``KINDS``.
        name: The name: letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        GuideGymError: If the kind is unknown, the name is malformed, or another part has it. Registering the same definition
            again, as when a notebook cell is rerun, replaces it.
    """
    known = _known(kind)
    check_name(name)

    def add(part: Part) -> Part:
        before = _PARTS[known].get(name)
        if before is not None and _definition(before) != _definition(part):
            raise GuideGymError(f"{kind} '{name}' is already registered, by {_definition(before)}")
        _check_contract(known, part)
        _PARTS[known][name] = part
        return part

    return add


def names(kind: str) -> list[str]:
    """Return the names of all parts of a kind, sorted."""
    known = _known(kind)
    _import_parts(known)
    own = KINDS[known]
    return sorted({*_PARTS[known], *(_modules(own.home) if own.modular else ())})


def registered(kind: str) -> dict[str, Any]:
    """Return all parts of a kind by name, sorted; modules of the kind's package that have no such part are left out."""
    found = {name: find_registered(kind, name) for name in names(kind)}
    return {name: part for name, part in found.items() if part is not None}


def find(kind: str, where: str) -> Any:
    """Return the part that a user names, importing the code that a reference names.

    Args:
        kind: One of ``KINDS``.
        where: A registered name, or a reference. If parts of the kind may be whole modules, a dotted module or the path of
            a Python file suffices.

    Raises:
        GuideGymError: If there is no such part. Errors raised inside the part's own code are not caught.
    """
    found = find_registered(kind, where)
    if found is not None:
        return found
    own = KINDS[_known(kind)]
    place, colon, attribute = where.rpartition(":")
    if not colon:
        place, attribute = where, own.attribute
    if not place or not attribute or (place.startswith(".") and not is_file(place)):
        raise _unknown(kind, where)
    part = getattr(_import(kind, place, own), attribute, None)
    if part is None:
        raise GuideGymError(f"{kind} '{place}' has no {'' if colon else 'function '}`{attribute}`")
    _check_contract(_known(kind), part)
    return part


def find_loaded(kind: str, name: str) -> Any:
    """Return the part that a file names: a registered one, or one in imported code; no code is run.

    Raises:
        GuideGymError: If it is neither.
    """
    found = find_registered(kind, name)
    if found is not None:
        return found
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise _unknown(kind, name)
    module = loaded_file(place) if place.endswith(".py") else sys.modules.get(place)
    part = None if module is None else getattr(module, attribute, None)
    if part is None:
        raise GuideGymError(
            f"{kind} '{name}' is code that was not imported: import it first, or give the command `--import`"
        )
    if not isinstance(part, type) or not hasattr(part, "__dataclass_fields__"):
        raise GuideGymError(f"{kind} '{name}' is not a dataclass")
    _check_contract(_known(kind), part)
    return part


def name_of(kind: str, part: Any) -> str:
    """Return the name of a part in files: its registered name, or a reference to its definition.

    Raises:
        GuideGymError: If it has neither: it was defined in an interactive session or inside a function.
    """
    for name, known in _PARTS[_known(kind)].items():
        if known is part:
            return name
    module, qualified = getattr(part, "__module__", ""), getattr(part, "__qualname__", "")
    where = sys.modules.get(module)
    if where is None or not qualified or getattr(where, qualified, None) is not part:
        raise GuideGymError(
            f"{getattr(part, '__name__', part)!s} has no name for use in files: register it by "
            f"@guidegym.register({kind!r}, NAME)"
        )
    file = getattr(where, "__file__", None)
    if module == "__main__" or module.startswith(USER_MODULE):
        if file is None:
            raise GuideGymError(
                f"{qualified} was defined interactively: register it by @guidegym.register({kind!r}, NAME)"
            )
        return f"{Path(file).name}:{qualified}"
    return f"{module}:{qualified}"


def find_registered(kind: str, name: str) -> Any:
    """Return the part registered under a name, including those of shipped modules; None if there is none."""
    known = _known(kind)
    if name not in _PARTS[known]:
        _import_parts(known)
    if name in _PARTS[known]:
        return _PARTS[known][name]
    own = KINDS[known]
    if own.modular and name in _modules(own.home):
        return getattr(importlib.import_module(f"{own.home}.{name}"), own.attribute, None)
    return None


def _import(kind: str, place: str, own: Kind) -> ModuleType:
    """Import the file or the module that a user named; a shipped module under its own name."""
    if is_file(place):
        # A part of an imported file is named by the file name alone, whatever its folder.
        loaded = None if Path(place).is_file() else loaded_file(place)
        return import_file(Path(place)) if loaded is None else loaded
    shipped = own.modular and place in _modules(own.home)
    module = import_module(f"{own.home}.{place}" if shipped else place)
    if module is None:
        raise _unknown(kind, place)
    return module


def _unknown(kind: str, where: str) -> GuideGymError:
    example = (
        "a dotted module or a path to a .py file" if KINDS[_known(kind)].attribute else "MODULE:NAME or FILE.py:NAME"
    )
    return GuideGymError(f"unknown {kind} {where!r}; known: {', '.join(names(kind))}; {example} works, too")


@functools.cache
def _modules(package: str) -> tuple[str, ...]:
    """Return the names of the modules of a package."""
    return tuple(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


@functools.cache
def _import_parts(kind: str) -> None:
    """Import the self-registering shipped parts of a kind, and the parts of installed packages."""
    own = KINDS[kind]
    if not own.modular:
        for home in filter(None, (own.home, own.also)):
            for name in _modules(home):
                importlib.import_module(f"{home}.{name}")
    import_entry_points()


def _definition(part: Any) -> str:
    """Return where a part is defined: its class or function, or its wrapped function, as for an objective."""
    part = inspect.unwrap(part)
    return f"{getattr(part, '__module__', '')}.{getattr(part, '__qualname__', repr(part))}"


def _check_contract(kind: str, part: Any) -> None:
    """Check that a class satisfies the contract of its kind; functions are checked by their results.

    Raises:
        GuideGymError: If it lacks something.
    """
    if not isinstance(part, type):
        return
    for protocol, own in _CONTRACTS.items():
        members = [name for name in vars(protocol) if not name.startswith("_") or name == "__call__"]
        lacking = [name for name in members if name not in _members(part)]
        if own == kind and lacking:
            raise GuideGymError(
                f"{part.__name__} is not a valid {kind}: it has no `{lacking[0]}`; see {protocol.__name__}"
            )


def _members(part: type) -> set[str]:
    """Return the names that a class' instances have: its attributes and annotated fields."""
    return {name for base in part.__mro__ for name in (*vars(base), *getattr(base, "__annotations__", {}))}
