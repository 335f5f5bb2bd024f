"""The codec between registered dataclasses and JSON objects, ``{"kind": name, **fields}``, with type checks of all fields."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.registry import find_loaded, kind_of_contract, name_of
from guidegym.support.settings import coerce, options_of, shown

MAX_DEPTH = 8
"""Maximum nesting depth of parts."""


def to_object(record: Any, kind: str) -> dict[str, Any]:
    """Return a part as ``{"kind": name, **fields}``, and likewise the parts inside it.

    Args:
        record: A dataclass, registered or importable by a reference.
        kind: Its kind in the registry.

    Raises:
        GuideGymError: If it is not a dataclass, has no name, or contains values that JSON cannot represent.
    """
    if not dataclasses.is_dataclass(record):
        raise GuideGymError(f"a {kind} in a file must be a dataclass, got {type(record).__name__}")
    hints = typing.get_type_hints(type(record))
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {
        "kind": name_of(kind, type(record)),
        **{
            name: _encoded(value, hints[name], f"`{name}` of {type(record).__name__}") for name, value in values.items()
        },
    }


def _encoded(value: Any, hint: Any, what: str) -> Any:
    kind = _kind_within(hint)
    if kind is not None and value is not None and not isinstance(value, Mapping | tuple | list):
        return to_object(value, kind)
    if isinstance(value, tuple | list):
        return [_encoded(one, hint, what) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _encoded(one, hint, what) for name, one in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise GuideGymError(f"{what} is a {type(value).__name__}, which cannot be stored in a file")


def _kind_within(hint: Any) -> str | None:
    """Return the kind of the parts in a field's annotation, including inside unions, tuples and mappings."""
    kinds = (kind_of_contract(hint), *map(_kind_within, typing.get_args(hint)))
    return next((kind for kind in kinds if kind is not None), None)


def from_object(content: Any, kind: str, source: str, *, depth: int = 0) -> Any:
    """Return the part described by ``{"kind": name, **fields}``; fields with defaults may be left out.

    Args:
        content: The parsed JSON.
        kind: The kind of part.
        source: Its name in error messages.
        depth: Number of parts around it.

    Raises:
        FileFormatError: If it does not describe a part, or names code that was not imported; no code is run.
    """
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must be an object with a `kind`, got {content!r:.80}")
    if depth > MAX_DEPTH:
        raise FileFormatError(f"{source}: parts are nested deeper than {MAX_DEPTH}")
    name = content.get("kind")
    if not isinstance(name, str):
        raise FileFormatError(f"{source}: `kind` must be the name of a {kind}, got {shown(name)}")
    try:
        record = find_loaded(kind, name)
    except GuideGymError as error:
        raise FileFormatError(f"{source}: {error}") from error
    hints, known = typing.get_type_hints(record), dataclasses.fields(record)
    needed = {
        field.name
        for field in known
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    check_keys(content, {"kind", *needed}, source, optional={field.name for field in known})
    given = {
        field.name: _decoded(content[field.name], hints[field.name], field.name, source, depth)
        for field in known
        if field.name in content
    }
    try:
        return record(**given)
    except FileFormatError:
        raise
    except GuideGymError as error:
        raise FileFormatError(f"{source}: {error}") from error


def _decoded(value: Any, hint: Any, name: str, source: str, depth: int) -> Any:
    """Return a field's value, checked for its type; objects become parts if so annotated."""
    kind = _kind_within(hint)
    if kind is None:
        try:
            plain = coerce(name, value, hint)
        except GuideGymError as error:
            raise FileFormatError(f"{source}: {error}") from error
        # JSON has one kind of number: 12 is read as 12.0 for a float field.
        return float(plain) if type(plain) is int and int not in options_of(hint) else plain
    shapes = {typing.get_origin(option) for option in options_of(hint)}
    if value is None and types.NoneType in options_of(hint):
        return None
    if isinstance(value, list) and tuple in shapes:
        return tuple(
            from_object(one, kind, f"{source}: {name}[{place}]", depth=depth + 1) for place, one in enumerate(value)
        )
    if isinstance(value, dict) and Mapping in shapes:
        return {key: from_object(one, kind, f"{source}: {name}.{key}", depth=depth + 1) for key, one in value.items()}
    return from_object(value, kind, f"{source}: {name}", depth=depth + 1)


def check_keys(content: Mapping[str, Any], wanted: set[str], source: str, *, optional: Any = frozenset()) -> None:
    """Reject an object with missing or extra keys.

    Raises:
        FileFormatError: If a key is missing or extra.
    """
    missing, extra = sorted(wanted - content.keys()), sorted(content.keys() - wanted - set(optional))
    if missing or extra:
        given = [
            f"{word} {', '.join(map(repr, keys))}"
            for word, keys in (("lacks", missing), ("does not allow", extra))
            if keys
        ]
        raise FileFormatError(
            f"{source}: {' and '.join(given)}; the keys are {', '.join(sorted(wanted | set(optional)))}"
        )
