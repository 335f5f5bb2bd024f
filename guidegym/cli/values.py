"""JSON values on a command line, alone or as ``NAME=VALUE``."""

import json
from collections.abc import Sequence
from typing import Any

from guidegym.errors import GuideGymError
from guidegym.support.settings import shown


def parse_value(text: str, flag: str) -> Any:
    """Return the value of a JSON text; one that does not look like JSON is a string itself.

    Raises:
        GuideGymError: If it begins like an object, a list or a quoted string and is not valid JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise GuideGymError(f"`{flag}` is not valid JSON: {error.msg}, got {shown(text)}") from error
        return text
    except (RecursionError, ValueError) as error:
        raise GuideGymError(
            f"`{flag}` is nested too deeply or contains too long a number, got {shown(text)}"
        ) from error


def parse_pairs(given: Sequence[str], flag: str) -> dict[str, Any]:
    """Return ``NAME=VALUE`` texts as a dictionary; see ``parse_value``.

    Raises:
        GuideGymError: If a text has no ``=``, a name is repeated, or a value is invalid JSON.
    """
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise GuideGymError(f"`{flag}` must be NAME=VALUE, got {text!r}")
        if name in pairs:
            raise GuideGymError(f"`{flag}` has `{name}` twice")
        pairs[name] = parse_value(value, f"{flag} {name}")
    return pairs
