"""Measured numbers in JSON: one spelling, and the older ones as they are read."""

import math
from collections.abc import Mapping
from typing import Any

from guidegym.evaluation.measuring.measurement import Delta
from guidegym.metrics.resampling import Estimate

OLDER = ("behind_best_by", "behind_best")
"""What earlier records call ``delta_to_best``."""


def plain(value: float) -> float | None:
    """Return a number as JSON has it: there is no word for those that are not finite."""
    return value if math.isfinite(value) else None


def estimate_to_json(one: Estimate) -> dict[str, float | None]:
    """Return an estimate's numbers; None where one is not finite."""
    return {key: plain(value) for key, value in vars(one).items()}


def estimate_from_json(content: Any, *, worst: float = math.nan) -> Estimate:
    """Return an estimate; earlier records of agents have a list of value, low and high.

    Args:
        content: What a record has.
        worst: What stands for numbers that were not finite.
    """
    numbers = content if isinstance(content, list) else [content[key] for key in ("value", "low", "high")]
    return Estimate(*(worst if one is None else float(one) for one in numbers))


def delta_to_json(one: Delta) -> dict[str, float | None]:
    """Return a difference's numbers; None where one is not finite."""
    return {**estimate_to_json(one.estimate), "p_value": plain(one.p_value)}


def delta_to_best(method: Mapping[str, Any]) -> Estimate:
    """Return how far a record's method is from the best, in whichever spelling the record has it."""
    return estimate_from_json(next(method[key] for key in ("delta_to_best", *OLDER) if key in method))
