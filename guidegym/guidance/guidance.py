"""The Guidance record: what is searched, saved and replayed."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import Process, Sampler
from guidegym.errors import FileFormatError, GuideGymError
from guidegym.files import write_atomically
from guidegym.guidance.guides import GUIDES, Guide
from guidegym.guidance.schedules import SCHEDULES, Constant, Schedule

NO_WEIGHT = Constant(0.0)
FORMAT = "guidegym-guidance"
VERSION = 1


@dataclass(frozen=True)
class Guidance:
    """A guide and the schedule of its weight. Compares by value; reads and writes one JSON file.

    Args:
        guide: The gradient field; None samples without guidance, and then the weight must be 0.
        weight: The schedule of the weight.
    """

    guide: Guide | None = None
    weight: Schedule = NO_WEIGHT

    def __post_init__(self) -> None:
        if self.guide is None and self.weight != NO_WEIGHT:
            raise GuideGymError("`weight` must be Constant(0.0) where `guide` is None")

    def weights(self, sampler: Sampler, process: Process) -> Float[Tensor, " steps"]:
        """Return the weight at each step of a sampler, float64, noisy end first."""
        return self.weight(sampler.timesteps(process)[:-1], process)

    def to_json(self) -> str:
        """Return the file's content: one JSON object, keys in a fixed order."""
        content = {
            "format": f"{FORMAT}/{VERSION}",
            "guide": None if self.guide is None else _to_object(self.guide, GUIDES),
            "weight": _to_object(self.weight, SCHEDULES),
        }
        return json.dumps(content, indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file atomically."""
        write_atomically(Path(path), self.to_json().encode())

    @classmethod
    def from_json(cls, text: str, *, source: str = "guidance") -> "Guidance":
        """Parse a file's content.

        Args:
            text: The JSON text.
            source: What an error calls it.

        Raises:
            FileFormatError: If it is not JSON, is of another format or a later version, lacks a key or has one too
                many, names an unknown kind, or holds a value of the wrong type or one that is not finite.
        """
        content = _parse(text, source)
        _check_format(content, source)
        _check_keys(content, {"format", "guide", "weight"}, source)
        guide = content["guide"]
        try:
            return cls(
                guide=None if guide is None else _from_object(guide, GUIDES, f"{source}: guide"),
                weight=_from_object(content["weight"], SCHEDULES, f"{source}: weight"),
            )
        except FileFormatError:
            raise
        except GuideGymError as error:
            raise FileFormatError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Guidance":
        """Read a file.

        Raises:
            FileFormatError: If the file cannot be read or is not a guidance file; see ``from_json``.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise FileFormatError(f"{path} cannot be read: {reason}") from error
        return cls.from_json(text, source=str(path))


def _parse(text: str, source: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise FileFormatError(f"{source}: numbers must be finite, got {constant}")

    try:
        content = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"{source} is not complete JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except FileFormatError:
        raise
    except (RecursionError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise FileFormatError(f"{source} is nested too deeply or holds a number that is too long") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must hold one JSON object, got {type(content).__name__}")
    return content


def _check_format(content: dict[str, Any], source: str) -> None:
    given = content.get("format")
    name, _, version = given.partition("/") if isinstance(given, str) else ("", "", "")
    if name != FORMAT or not (version.isascii() and version.isdecimal()):
        raise FileFormatError(f"{source}: `format` must be '{FORMAT}/{VERSION}', got {given!r}")
    if int(version[:9]) > VERSION:
        raise FileFormatError(
            f"{source} was written by a later version of guidegym: format {given!r}; this one reads '{FORMAT}/{VERSION}'"
        )
    if int(version) != VERSION:
        raise FileFormatError(f"{source}: `format` must be '{FORMAT}/{VERSION}', got {given!r}")


def _check_keys(content: dict[str, Any], wanted: set[str], source: str) -> None:
    missing, extra = sorted(wanted - content.keys()), sorted(content.keys() - wanted)
    if missing or extra:
        given = [
            f"{word} {', '.join(map(repr, keys))}"
            for word, keys in (("lacks", missing), ("does not allow", extra))
            if keys
        ]
        raise FileFormatError(f"{source}: {' and '.join(given)}; the keys are {', '.join(sorted(wanted))}")


def _to_object(record: Any, kinds: dict[str, type[Any]]) -> dict[str, Any]:
    """Return a record as ``{"kind": ..., **fields}``."""
    names = {kind: name for name, kind in kinds.items()}
    if type(record) not in names:
        raise GuideGymError(f"{type(record).__name__} has no name in a guidance file; the kinds are {', '.join(kinds)}")
    return {"kind": names[type(record)], **{field.name: getattr(record, field.name) for field in fields(record)}}


def _from_object(content: Any, kinds: dict[str, type[Any]], source: str) -> Any:
    """Return the record that ``{"kind": ..., **fields}`` describes, every field checked for its type."""
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must be an object with a `kind`, got {content!r}")
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise FileFormatError(f"{source}: unknown kind {kind!r}; known are {', '.join(kinds)}")
    record = kinds[kind]
    types = {field.name: field.type for field in fields(record)}
    _check_keys(content, {"kind", *types}, source)
    values: dict[str, Any] = {}
    for name, wanted in types.items():
        value = content[name]
        if wanted is float:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FileFormatError(f"{source}: `{name}` must be a number, got {value!r}")
            try:
                value = float(value)
            except OverflowError:
                value = math.inf
            if not math.isfinite(value):
                raise FileFormatError(f"{source}: `{name}` must be a finite number, got {content[name]!r:.40}")
        elif not isinstance(value, str):
            raise FileFormatError(f"{source}: `{name}` must be a text, got {value!r}")
        values[name] = value
    try:
        return record(**values)
    except GuideGymError as error:
        raise FileFormatError(f"{source}: {error}") from error
