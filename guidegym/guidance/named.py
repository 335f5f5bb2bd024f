"""Parts of a guidance by name or as objects of a guidance file, as passed to environments and commands."""

from collections.abc import Mapping
from typing import Any

from guidegym.codec import from_object
from guidegym.guidance.guide import BaseModel
from guidegym.guidance.guides import Guide, Likelihood
from guidegym.guidance.targets import TargetDistribution


def make_guide(given: str | Mapping[str, Any] | Guide) -> Guide:
    """Return the guide described by a guidance file's object, or the likelihood under the classifier of that name.

    Raises:
        GuideGymError: If the object is not valid in a guidance file.
    """
    guide: Guide = Likelihood(given) if isinstance(given, str) else _part(given, "guide", "`guide`")
    return guide


def make_base_model(given: str | Mapping[str, Any] | BaseModel) -> BaseModel:
    """Return the base model of that kind, or the one described by a guidance file's object."""
    base_model: BaseModel = _part(given, "base_model", "`base_model`")
    return base_model


def make_target(given: str | Mapping[str, Any] | TargetDistribution) -> TargetDistribution:
    """Return the target distribution of that kind, or the one described by a guidance file's object."""
    target: TargetDistribution = _part(given, "target", "`target`")
    return target


def _part(given: Any, kind: str, source: str) -> Any:
    if isinstance(given, str):
        return from_object({"kind": given}, kind, source)
    return from_object(dict(given), kind, source) if isinstance(given, Mapping) else given
