"""Parts of a guidance by name, or as the objects of a guidance file: what environments and commands are given."""

from collections.abc import Mapping
from typing import Any

from guidegym.codec import from_object
from guidegym.guidance.guide import BaseModel
from guidegym.guidance.guides import Guide, Likelihood
from guidegym.guidance.targets import TargetDistribution


def make_guide(given: str | Mapping[str, Any] | Guide) -> Guide:
    """Return the guide that a guidance file's object describes, or the likelihood under the classifier of that name.

    Raises:
        GuideGymError: If the object is not one that a guidance file may hold.
    """
    guide: Guide = Likelihood(given) if isinstance(given, str) else _part(given, "guide", "`guide`")
    return guide


def make_base_model(given: str | Mapping[str, Any] | BaseModel) -> BaseModel:
    """Return the base model of that kind, or the one that a guidance file's object describes."""
    base_model: BaseModel = _part(given, "base_model", "`base_model`")
    return base_model


def make_target(given: str | Mapping[str, Any] | TargetDistribution) -> TargetDistribution:
    """Return the target distribution of that kind, or the one that a guidance file's object describes."""
    target: TargetDistribution = _part(given, "target", "`target`")
    return target


def _part(given: Any, kind: str, source: str) -> Any:
    if isinstance(given, str):
        return from_object({"kind": given}, kind, source)
    return from_object(dict(given), kind, source) if isinstance(given, Mapping) else given
