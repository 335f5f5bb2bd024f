"""Settings given by name, on a command line or in code, checked against a function's signature, with one-line errors."""

import contextlib
import dataclasses
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from guidegym.errors import GuideGymError

MAX_SEED = 2**31 - 1
MAX_WHOLE = 2**63 - 1
"""Largest whole number, as in torch and in files."""
SHOWN = 60
"""Maximum number of characters of a value in error messages."""
WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", types.NoneType: "null"}


def shown(value: object) -> str:
    """Return a value as shown in error messages: the beginning of it, on one line."""
    try:
        text = repr(value)
    except Exception as error:  # numbers of 5000 digits cannot be printed, and user-defined objects may raise, too
        text = f"{type(value).__name__} that cannot be shown ({type(error).__name__})"
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _plain(value: object) -> object:
    """Return a NumPy scalar, or a zero-dimensional array or tensor, as a Python number."""
    if type(value) in (bool, int, float) or getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    return value.item()


def whole_number(name: str, value: object, *, least: int = -MAX_WHOLE, most: int = MAX_WHOLE) -> int:
    """Return a whole number as a Python int: one of Python, NumPy or torch, but not a boolean.

    Raises:
        GuideGymError: If it is not one, or not in ``least`` .. ``most``.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int) or not least <= plain <= most:
        beyond = most < MAX_WHOLE or (isinstance(plain, int) and plain > most)
        bounds = f" in {least}..{most}" if beyond else f" >= {least}" if least > -MAX_WHOLE else ""
        raise GuideGymError(f"must be a whole number{bounds}, got {shown(value)}", argument=name)
    return plain


def finite_number(name: str, value: object) -> float:
    """Return a finite number as a Python number: one of Python, NumPy or torch, but not a boolean.

    Raises:
        GuideGymError: If it is not a number, or not finite.
    """
    plain = _plain(value)
    if (
        isinstance(plain, bool)
        or not isinstance(plain, int | float)
        or not -sys.float_info.max <= plain <= sys.float_info.max
    ):
        raise GuideGymError(f"must be a finite number, got {shown(value)}", argument=name)
    return plain


def true_or_false(name: str, value: object) -> bool:
    """Return a Python or NumPy boolean as a Python one.

    Raises:
        GuideGymError: If it is not a boolean.
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise GuideGymError(f"must be true or false, got {shown(value)}", argument=name)
    return plain


def _sequence(name: str, value: object, hint: Any) -> tuple[Any, ...]:
    """Return a list, tuple, array or tensor as a tuple of the annotated type, which compares by value."""
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        value = value.tolist()
    kinds = typing.get_args(hint) or (Any, ...)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise GuideGymError(
            f"must be a sequence{' of numbers' if kinds[0] in (int, float) else ''}, got {shown(value)}", argument=name
        )
    if kinds[-1] is not Ellipsis and len(kinds) != len(value):
        raise GuideGymError(f"must have {len(kinds)} parts, got {shown(value)}", argument=name)
    each = kinds if kinds[-1] is not Ellipsis else (kinds[0],) * len(value)
    return tuple(
        coerce(f"{name}[{place}]", one, kind) for place, (one, kind) in enumerate(zip(value, each, strict=True))
    )


def options_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def coerce(name: str, value: Any, hint: Any) -> Any:
    """Return a value converted to its annotation: numbers as Python numbers, sequences as tuples if annotated as such.

    Defines which values fit an annotation. Numbers are ints, floats, NumPy scalars and zero-dimensional tensors; booleans,
    strings, NaN and infinities are not. Annotations beyond simple types, literals, tuples, sequences, mappings and classes are
    not checked.

    Args:
        name: Its name in error messages.
        value: The value.
        hint: The annotation.

    Raises:
        GuideGymError: If the value does not fit.
    """
    options = options_of(hint)
    if value is None and types.NoneType in options:
        return None
    wanted = [option for option in options if option is not types.NoneType] or list(options)
    if len(wanted) == 1 and len(options) == 1:
        return _coerced(name, value, wanted[0])
    for option in wanted:
        with contextlib.suppress(GuideGymError):
            return _coerced(name, value, option)
    raise GuideGymError(f"must be {' or '.join(map(_word, options))}, got {shown(value)}", argument=name)


def _coerced(name: str, value: Any, option: Any) -> Any:
    """Return a value converted to one simple annotation."""
    kind = typing.get_origin(option) or option
    rules: dict[Any, Callable[[str, Any], Any]] = {int: whole_number, float: finite_number, bool: true_or_false}
    if kind in rules:
        return rules[kind](name, value)
    if kind is typing.Literal:
        allowed = typing.get_args(option)
        if value not in allowed:
            raise GuideGymError(f"must be one of {', '.join(map(str, allowed))}, got {shown(value)}", argument=name)
        return value
    if kind is tuple:
        return _sequence(name, value, option)
    fits = not isinstance(kind, type) or (isinstance(value, kind) and not (kind is Sequence and isinstance(value, str)))
    if not fits:
        raise GuideGymError(f"must be {_word(option)}, got {shown(value)}", argument=name)
    return value


def plain_fields(record: Any) -> None:
    """Convert all fields of a new dataclass that are annotated as numbers or booleans to plain Python numbers.

    Numbers are ints, floats, NumPy scalars and zero-dimensional tensors; booleans, strings, None (unless annotated), NaN and
    infinities are not. Sequences of numbers become tuples. Records with equal values are then equal, have the same hash and
    write the same file, whatever the types of the given numbers.

    Raises:
        GuideGymError: If a field has another value.
    """
    for field in dataclasses.fields(record):
        value, options = (
            getattr(record, field.name),
            [one for one in options_of(field.type) if one is not types.NoneType],
        )
        kinds = [typing.get_args(one)[0] if typing.get_origin(one) is tuple else one for one in options]
        if len(kinds) != 1 or kinds[0] not in (int, float, bool):
            continue
        optional = value is None and len(options) < len(options_of(field.type))
        plain = value if optional else _coerced(field.name, value, options[0])
        if plain is not value:
            object.__setattr__(record, field.name, plain)


def check_settings(
    function: Callable[..., Any], given: Mapping[str, Any], *, what: str, but: Collection[str] = ()
) -> None:
    """Check that a function takes the settings given by name, and that each has the annotated type.

    Args:
        function: The function, with annotations.
        given: Settings by name.
        what: Name of the function in error messages.
        but: Parameters that are not settings.

    Raises:
        GuideGymError: If it has no such parameter, or a value has another type.
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
            coerce(name, value, hints[name])


def with_defaults(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a function: the given ones, and its defaults for the others."""
    parameters = inspect.signature(function).parameters.items()
    return {**{name: one.default for name, one in parameters if one.default is not one.empty}, **given}


def _word(option: Any) -> str:
    kind = typing.get_origin(option) or option
    if kind is Mapping:
        return "an object"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def check_name(name: str) -> None:
    """Check that a name is valid in files and on command lines: letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        GuideGymError: If it is not.
    """
    if not name or any(not (letter.isalnum() or letter in "_-.") for letter in name):
        raise GuideGymError(f"must be letters, digits, '_', '-' and '.', got {name!r}", argument="name")


def check_count(name: str, value: object, *, least: int) -> int:
    """Return a whole number that is at least ``least``; see ``whole_number``.

    Raises:
        GuideGymError: If it is not.
    """
    return whole_number(name, value, least=least)


def check_seed(seed: object) -> int:
    """Return a run's seed, in 0 .. 2**31 - 1.

    Raises:
        GuideGymError: If it is not.
    """
    return whole_number("seed", seed, least=0, most=MAX_SEED)


def check_range(
    name: str, value: float, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> float:
    """Return a finite number that is at least ``least``, larger than ``above`` and at most ``most``.

    Raises:
        GuideGymError: If it is not.
    """
    number = finite_number(name, value)
    if number >= least and number > above and number <= most:
        return number
    bounds = [f">= {least:g}"] * (least > -math.inf) + [f"> {above:g}"] * (above > -math.inf)
    bounds += [f"<= {most:g}"] * (most < math.inf)
    raise GuideGymError(f"must be {' and '.join(bounds)}, got {shown(value)}", argument=name)
