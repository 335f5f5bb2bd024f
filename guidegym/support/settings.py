"""Settings given by name, from a command line or in code: checked against a function's own signature, in one clear line."""

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
"""Whole numbers end where torch's and every file's do."""
SHOWN = 60
"""Letters of a wrong value that an error shows."""
WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", types.NoneType: "null"}


def shown(value: object) -> str:
    """Return a value as errors show it: in one line, and not more than the beginning of it."""
    try:
        text = repr(value)
    except Exception as error:  # a number of 5000 digits refuses to be printed, and so may any object of a user's
        text = f"{type(value).__name__} that cannot be shown ({type(error).__name__})"
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _plain(value: object) -> object:
    """Return a NumPy scalar, or an array or tensor without dimensions, as the Python number that it holds."""
    if type(value) in (bool, int, float) or getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    return value.item()


def whole_number(name: str, value: object, *, least: int = -MAX_WHOLE, most: int = MAX_WHOLE) -> int:
    """Return a whole number as a Python int: what Python, NumPy or torch has as one, and no boolean.

    Raises:
        GuideGymError: If it is none, or not in ``least`` .. ``most``.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int) or not least <= plain <= most:
        beyond = most < MAX_WHOLE or (isinstance(plain, int) and plain > most)
        bounds = f" in {least}..{most}" if beyond else f" >= {least}" if least > -MAX_WHOLE else ""
        raise GuideGymError(f"must be a whole number{bounds}, got {shown(value)}", argument=name)
    return plain


def finite_number(name: str, value: object) -> float:
    """Return a finite number as a Python number: what Python, NumPy or torch has as one, and no boolean.

    Raises:
        GuideGymError: If it is none, or not finite.
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
    """Return a boolean, Python's or NumPy's, as Python's.

    Raises:
        GuideGymError: If it is none.
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise GuideGymError(f"must be true or false, got {shown(value)}", argument=name)
    return plain


def _sequence(name: str, value: object, hint: Any) -> tuple[Any, ...]:
    """Return a list, tuple, array or tensor as a tuple of what the annotation says, which compares by value."""
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
    """Return a value as its annotation says: numbers as Python's own, sequences as tuples where the annotation says tuple.

    The one rule for what fits an annotation. Numbers are ints, floats, NumPy scalars and tensors without dimensions; booleans,
    texts, NaN and infinities are none. What an annotation says beyond simple types, literals, tuples, sequences, mappings and
    classes is not checked.

    Args:
        name: What an error calls it.
        value: The value.
        hint: The annotation.

    Raises:
        GuideGymError: If the value is something else.
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
    """Return a value as one simple annotation says."""
    kind = typing.get_origin(option) or option
    rules: dict[Any, Callable[[str, Any], Any]] = {int: whole_number, float: finite_number, bool: true_or_false}
    if kind in rules:
        return rules[kind](name, value)
    if kind is typing.Literal:
        allowed = typing.get_args(option)
        if value not in allowed:
            raise GuideGymError(f"must be of {', '.join(map(str, allowed))}, got {shown(value)}", argument=name)
        return value
    if kind is tuple:
        return _sequence(name, value, option)
    fits = not isinstance(kind, type) or (isinstance(value, kind) and not (kind is Sequence and isinstance(value, str)))
    if not fits:
        raise GuideGymError(f"must be {_word(option)}, got {shown(value)}", argument=name)
    return value


def plain_fields(record: Any) -> None:
    """Give a dataclass, as it is made, plain Python numbers in all fields that are annotated as numbers or booleans.

    The one rule for what a number is: ints, floats, NumPy scalars and tensors without dimensions are; booleans, texts, None
    (where the annotation does not name it), NaN and infinities are not. Sequences of numbers become tuples. Equal records are
    then equal, hash alike and write the same file, whatever the numbers came as.

    Raises:
        GuideGymError: If a field holds something else.
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
            coerce(name, value, hints[name])


def with_defaults(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a function then has: those given, and its defaults for what is left out."""
    parameters = inspect.signature(function).parameters.items()
    return {**{name: one.default for name, one in parameters if one.default is not one.empty}, **given}


def _word(option: Any) -> str:
    kind = typing.get_origin(option) or option
    if kind is Mapping:
        return "an object"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def check_name(name: str) -> None:
    """Check that a name can stand in files and on command lines: letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        GuideGymError: If it cannot.
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
