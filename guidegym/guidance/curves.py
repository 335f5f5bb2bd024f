"""Schedules through given points: knots and tables."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_range, plain_fields

SCALE = 1000.0
"""Scale of a table's timesteps, 0..1000."""
MAX_WEIGHT = 1e100
"""Bound on the absolute value of a knot: slopes between larger ones overflow double precision."""
SHAPES = ("monotone", "free")


@register("schedule", "knots")
@dataclass(frozen=True)
class Knots:
    """A smooth curve through weights at even fractions of the chain: the general open-loop schedule.

    Args:
        weights: The weight at fractions 0, 1 / (n - 1), ..., 1 of the chain, 0 being the noisy end; at least two.
        shape: ``monotone`` stays between neighbouring knots (cubic Hermite pieces after Fritsch and Carlson);
            ``free`` is the natural cubic spline, which is smoother but may overshoot them, even below 0.
    """

    weights: tuple[float, ...]
    shape: str = "monotone"

    def __post_init__(self) -> None:
        plain_fields(self)
        if len(self.weights) < 2:
            raise GuideGymError(f"`weights` must have two or more values, got {len(self.weights)}")
        for weight in self.weights:
            check_range("weights", weight, least=-MAX_WEIGHT, most=MAX_WEIGHT)
        if self.shape not in SHAPES:
            raise GuideGymError(f"`shape` must be one of {', '.join(SHAPES)}, got {self.shape!r}")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        from scipy.interpolate import CubicSpline, PchipInterpolator  # slow to import and rarely needed

        places = np.linspace(0, 1, len(self.weights))
        weights = np.asarray(self.weights, dtype=np.float64)
        curve: Callable[[Any], Any]
        if self.shape == "monotone":
            with np.errstate(all="ignore"):  # the slope between nearly equal neighbours is 1 / infinity
                curve = PchipInterpolator(places, weights)
        else:
            curve = CubicSpline(places, weights, bc_type="natural")
        values = curve(process.fraction(t).cpu().numpy())
        return torch.from_numpy(np.asarray(values, dtype=np.float64)).to(t.device)


@register("schedule", "table")
@dataclass(frozen=True)
class Table:
    """Weights at given timesteps, linear between them and constant beyond: any curve, such as a distilled policy.

    Args:
        timesteps: Training timesteps, descending, on the scale 0..1000 whatever the length of the process.
        weights: The weight at each timestep.

    Raises:
        GuideGymError: If the two are empty or differ in length, a value is not finite, or the timesteps do not descend.
    """

    timesteps: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        plain_fields(self)
        if not self.timesteps or len(self.timesteps) != len(self.weights):
            raise GuideGymError(
                f"`timesteps` and `weights` must be non-empty and of equal length, got {len(self.timesteps)}, {len(self.weights)}"
            )
        for timestep, weight in zip(self.timesteps, self.weights, strict=True):
            check_range("timesteps", timestep, least=-1, most=SCALE)
            check_range("weights", weight, least=-MAX_WEIGHT, most=MAX_WEIGHT)
        if any(after >= before for before, after in pairwise(self.timesteps)):
            raise GuideGymError("`timesteps` must be descending")

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t``."""
        position = process.position(t)
        knots = torch.tensor(self.timesteps[::-1], dtype=torch.float64, device=t.device)
        values = torch.tensor(self.weights[::-1], dtype=torch.float64, device=t.device)
        if len(knots) == 1:
            return values.expand(len(t)).clone()
        right = torch.searchsorted(knots, position.contiguous()).clamp(1, len(knots) - 1)
        share = ((position - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
        return torch.lerp(values[right - 1], values[right], share)
