"""Everything that a guidance file may name: guides, scores, degrees and schedules, as records and as JSON objects."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.guidance.asking import Score
from guidegym.guidance.classifier_free import ClassifierFree
from guidegym.guidance.curves import Knots, Table
from guidegym.guidance.degree import InitialDegree, LabelSmoothing, OneHot, Similarity, Uniform
from guidegym.guidance.guides import ClassEnergy, EnergyDivergence, Guide, JointEnergy, Likelihood
from guidegym.guidance.schedules import Constant, Cosine, Exponential, Linear, Power, Sigmoid
from guidegym.guidance.scores import ClassifierScore, ConditionalDenoiser, UnconditionalDenoiser
from guidegym.guidance.stages import Interval, NoiseInterval, Stages
from guidegym.guidance.wrapping import Accumulated, AtClean, EntropyScaled, LookAhead, Momentum, Normalised

Kinds = Mapping[str, type[Any]]

GUIDES: Kinds = {
    "likelihood": Likelihood,
    "class_energy": ClassEnergy,
    "joint_energy": JointEnergy,
    "energy_divergence": EnergyDivergence,
    "classifier_free": ClassifierFree,
    "look_ahead": LookAhead,
    "accumulated": Accumulated,
    "at_clean": AtClean,
    "entropy_scaled": EntropyScaled,
    "normalised": Normalised,
    "momentum": Momentum,
}
"""Every guide by the name it has in a guidance file."""
SCORES: Kinds = {
    "denoiser": UnconditionalDenoiser,
    "conditional": ConditionalDenoiser,
    "classifier": ClassifierScore,
}
"""Every score by the name it has in a guidance file."""
DEGREES: Kinds = {
    "one_hot": OneHot,
    "uniform": Uniform,
    "label_smoothing": LabelSmoothing,
    "similarity": Similarity,
}
"""Every initial degree by the name it has in a guidance file."""
SCHEDULES: Kinds = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "power": Power,
    "sigmoid": Sigmoid,
    "stages": Stages,
    "interval": Interval,
    "noise_interval": NoiseInterval,
    "knots": Knots,
    "table": Table,
}
"""Every schedule by the name it has in a guidance file."""
MAX_DEPTH = 8
"""Guides around a guide, at most."""


def make_guide(given: str | Mapping[str, Any]) -> Guide:
    """Return the guide that a guidance file's object describes, or the likelihood under the classifier of that name.

    Raises:
        GuideGymError: If the object is not one that a guidance file may hold.
    """
    if isinstance(given, str):
        return Likelihood(given)
    guide: Guide = from_object(dict(given), GUIDES, "`guide`")
    return guide


def make_score(given: str | Mapping[str, Any]) -> Score:
    """Return the score of that kind, or the one that a guidance file's object describes."""
    score: Score = from_object({"kind": given} if isinstance(given, str) else dict(given), SCORES, "`score`")
    return score


def make_degree(given: str | Mapping[str, Any]) -> InitialDegree:
    """Return the initial degree of that kind, or the one that a guidance file's object describes."""
    degree: InitialDegree = from_object({"kind": given} if isinstance(given, str) else dict(given), DEGREES, "`degree`")
    return degree


def to_object(record: Any, kinds: Kinds) -> dict[str, Any]:
    """Return a record as ``{"kind": ..., **fields}``, a guide inside a guide likewise."""
    names = {kind: name for name, kind in kinds.items()}
    if type(record) not in names:
        raise GuideGymError(f"{type(record).__name__} has no name in a guidance file; the kinds are {', '.join(kinds)}")
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        "kind": names[type(record)],
        **{name: to_object(value, kinds) if name == "guide" else value for name, value in values.items()},
    }


def from_object(content: Any, kinds: Kinds, source: str, *, depth: int = 0) -> Any:
    """Return the record that ``{"kind": ..., **fields}`` describes, every field checked for its type.

    A field with a default may be left out.

    Raises:
        FileFormatError: If it describes none.
    """
    if not isinstance(content, dict):
        raise FileFormatError(f"{source} must be an object with a `kind`, got {content!r:.80}")
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise FileFormatError(f"{source}: unknown kind {kind!r}; known are {', '.join(kinds)}")
    if depth > MAX_DEPTH:
        raise FileFormatError(f"{source}: guides are nested deeper than {MAX_DEPTH}")
    record = kinds[kind]
    types = {field.name: field.type for field in fields(record)}
    needed = {field.name for field in fields(record) if field.default is MISSING}
    check_keys(content, {"kind", *needed}, source, optional=types.keys())
    values: dict[str, Any] = {}
    for name in types.keys() & content.keys():
        if name == "guide":
            values[name] = from_object(content[name], kinds, f"{source}: {name}", depth=depth + 1)
        else:
            values[name] = _value(content[name], types[name], name, source)
    try:
        return record(**values)
    except FileFormatError:
        raise
    except GuideGymError as error:
        raise FileFormatError(f"{source}: {error}") from error


def check_keys(content: Mapping[str, Any], wanted: set[str], source: str, *, optional: Any = frozenset()) -> None:
    """Refuse an object that lacks a key or has one too many."""
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


def _value(value: Any, wanted: Any, name: str, source: str) -> Any:
    """Return a field's value, checked for its type."""
    if wanted is float:
        return _number(value, name, source)
    if wanted == tuple[float, ...]:
        if not isinstance(value, list):
            raise FileFormatError(f"{source}: `{name}` must be a list of numbers, got {value!r:.40}")
        return tuple(_number(one, name, source) for one in value)
    if wanted is bool and not isinstance(value, bool):
        raise FileFormatError(f"{source}: `{name}` must be true or false, got {value!r:.40}")
    if wanted is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise FileFormatError(f"{source}: `{name}` must be a whole number, got {value!r:.40}")
    if wanted is str and not isinstance(value, str):
        raise FileFormatError(f"{source}: `{name}` must be a text, got {value!r:.40}")
    return value


def _number(value: Any, name: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FileFormatError(f"{source}: `{name}` must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FileFormatError(f"{source}: `{name}` must be a finite number, got {value!r:.40}")
    return number
