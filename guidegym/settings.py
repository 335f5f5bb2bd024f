"""Settings given by name, from a command line or in code: checked against a function's own signature, in one clear line."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from guidegym.errors import GuideGymError

MAX_SEED = 2**31 - 1
WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", types.NoneType: "null"}


def check_settings(
    function: Callable[..., Any], given: Mapping[str, Any], *, what: str, but: Collection[str] = ()
) -> None:
    """Check that a function takes the settings given by name, and that each is of the type that it says.

    Args:
        function: The function, with annotations.
        given: Settings by name.
        what: What an error calls the function.
        but: Parameters that are not settings.

    Raises:
        GuideGymError: If it takes none of that name, or a value is of another type.
    """
    parameters = inspect.signature(function).parameters.values()
    allowed = [one.name for one in parameters if one.name not in but and one.kind != one.VAR_KEYWORD]
    takes_any = any(one.kind == one.VAR_KEYWORD for one in parameters)
    unknown = [name for name in given if name not in allowed and not (takes_any and name not in but)]
    if unknown:
        raise GuideGymError(f"{what} takes {', '.join(allowed) or 'no settings'}; got '{unknown[0]}'")
    hints = typing.get_type_hints(function)
    for name, value in given.items():
        if name in hints and name in allowed:
            check_type(name, value, hints[name])


def with_defaults(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a function then has: those given, and its defaults for what is left out."""
    parameters = inspect.signature(function).parameters.items()
    return {**{name: one.default for name, one in parameters if one.default is not one.empty}, **given}


def check_type(name: str, value: Any, hint: Any) -> None:
    """Check one value against an annotation made of simple types, mappings, sequences and unions of them."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if Any in options or any(_fits(value, option) for option in options):
        return
    raise GuideGymError(f"`{name}` must be {' or '.join(map(_word, options))}, got {value!r:.60}")


def _fits(value: Any, option: Any) -> bool:
    kind = typing.get_origin(option) or option
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _word(option: Any) -> str:
    kind = typing.get_origin(option) or option
    if kind is Mapping:
        return "an object"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def check_count(name: str, value: object, *, least: int) -> None:
    """Check that a value is a whole number, and at least ``least``.

    Raises:
        GuideGymError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise GuideGymError(f"`{name}` must be a whole number >= {least}, got {value!r}")


def check_seed(seed: object) -> None:
    """Check that a run's seed is in 0 .. 2**31 - 1.

    Raises:
        GuideGymError: If it is not.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise GuideGymError(f"`seed` must be in 0..{MAX_SEED}, got {seed}")


def check_range(
    name: str, value: float, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    """Check that a number is at least ``least``, larger than ``above`` and at most ``most``.

    Raises:
        GuideGymError: If it is not.
    """
    if value >= least and value > above and value <= most:
        return
    bounds = [f">= {least:g}"] * (least > -math.inf) + [f"> {above:g}"] * (above > -math.inf)
    bounds += [f"<= {most:g}"] * (most < math.inf)
    raise GuideGymError(f"`{name}` must be {' and '.join(bounds)}, got {value}")
