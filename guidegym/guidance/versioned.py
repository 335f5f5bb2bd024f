"""JSON files that begin with their format and its version."""

import json
from typing import Any

from guidegym.errors import FileFormatError


def parse(text: str, source: str) -> dict[str, Any]:
    """Return the JSON object of a file; no key may be repeated, no number infinite."""

    def refuse(constant: str) -> float:
        raise FileFormatError(f"{source}: numbers must be finite, got {constant}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise FileFormatError(f"{source}: a key is repeated in one object with the keys {', '.join(names)}")
        return dict(pairs)

    try:
        content = json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"{source} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except FileFormatError:
        raise
    except (RecursionError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise FileFormatError(f"{source} is nested too deeply or contains too long a number") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must contain one JSON object, got {type(content).__name__}")
    return content


def check_format(content: dict[str, Any], source: str, form: str, latest: int) -> None:
    """Reject files of another format or of a later version."""
    given = content.get("format")
    name, _, version = given.partition("/") if isinstance(given, str) else ("", "", "")
    if name != form or not (version.isascii() and version.isdecimal()):
        raise FileFormatError(f"{source}: `format` must be '{form}/{latest}', got {given!r}")
    if int(version[:9]) > latest:
        raise FileFormatError(
            f"{source} was written by a later version of guidegym: format {given!r}; this one reads '{form}/{latest}'"
        )
    if int(version) != latest:
        raise FileFormatError(f"{source}: `format` must be '{form}/{latest}', got {given!r}")
