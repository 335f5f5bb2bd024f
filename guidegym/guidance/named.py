"""Parts of a guidance by name, or as the objects of a guidance file: what environments and commands are given."""

from collections.abc import Mapping
from typing import Any

from guidegym.codec import from_object
from guidegym.guidance.asking import Score
from guidegym.guidance.degree import InitialDegree
from guidegym.guidance.guides import Guide, Likelihood


def make_guide(given: str | Mapping[str, Any] | Guide) -> Guide:
    """Return the guide that a guidance file's object describes, or the likelihood under the classifier of that name.

    Raises:
        GuideGymError: If the object is not one that a guidance file may hold.
    """
    if isinstance(given, str):
        return Likelihood(given)
    guide: Guide = from_object(dict(given), "guide", "`guide`") if isinstance(given, Mapping) else given
    return guide


def make_score(given: str | Mapping[str, Any] | Score) -> Score:
    """Return the score of that kind, or the one that a guidance file's object describes."""
    score: Score = _part(given, "base_model", "`score`")
    return score


def make_degree(given: str | Mapping[str, Any] | InitialDegree) -> InitialDegree:
    """Return the initial degree of that kind, or the one that a guidance file's object describes."""
    degree: InitialDegree = _part(given, "target", "`degree`")
    return degree


def _part(given: Any, kind: str, source: str) -> Any:
    if isinstance(given, str):
        return from_object({"kind": given}, kind, source)
    return from_object(dict(given), kind, source) if isinstance(given, Mapping) else given
