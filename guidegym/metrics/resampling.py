"""The bootstrap: the sampling uncertainty of measured numbers."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.95


def _digits(number: float) -> str:
    """Format three significant digits, without exponent between 0.001 and 100 000."""
    if 1000 <= abs(number) < 1e5:
        return f"{number:.0f}"
    return f"{number:#.3g}".rstrip(".")


@dataclass(frozen=True)
class Estimate:
    """A measured number with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, scale: float = 1.0) -> str:
        """Return ``value [low, high]`` with three significant digits each; ``failed`` if there is no number."""
        if not math.isfinite(self.value):
            return "failed"
        value, low, high = (_digits(part * scale) for part in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def to_json(self) -> dict[str, float | None]:
        """Return its numbers, with None for non-finite ones, which JSON cannot represent."""
        return {name: one if math.isfinite(one) else None for name, one in vars(self).items()}

    @classmethod
    def from_json(cls, content: Any, *, worst: float = math.nan) -> "Estimate":
        """Parse the output of ``to_json``, or the list of the same numbers in earlier comparisons of agents.

        Numbers that were not finite become ``worst``.
        """
        numbers = content if isinstance(content, list) else [content[name] for name in ("value", "low", "high")]
        return cls(*(worst if one is None else float(one) for one in numbers))


def resampling_weights(
    num_classes: int, samples_per_class: int, *, resamples: int, seed: int
) -> Float[Tensor, " resamples classes n"]:
    """Return the number of draws of each sample in each bootstrap resample, drawn within classes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (resamples, num_classes, samples_per_class)
    drawn = torch.randint(samples_per_class, shape, generator=generator)
    return torch.zeros(shape, dtype=torch.float64).scatter_add_(2, drawn, torch.ones(shape, dtype=torch.float64))


def percentiles(value: float, resampled: Float[Tensor, " resamples"]) -> Estimate:
    """Return a number with the middle 95 % of its resamples."""
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(resampled.double(), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(value, low, high)


def interval_around(value: float, resampled: Float[Tensor, " resamples"]) -> Estimate:
    """Return a number with the middle 95 % of its resamples, shifted to contain it if they do not.

    With few samples, resamples contain so many repetitions that their values may miss the number, and an interval without its
    own estimate is meaningless.
    """
    plain = percentiles(value, resampled)
    if plain.low <= value <= plain.high:
        return plain
    moved = recentred(value, resampled)
    return Estimate(value, min(moved.low, value), max(moved.high, value))


def recentred(value: float, resampled: Float[Tensor, " resamples"]) -> Estimate:
    """Return a number with its resamples' spread around their own mean, recentred on the number.

    For numbers that are biased by repeated samples (Frechet distances, coverage), of which only the spread can be used.
    """
    return percentiles(value, resampled.double() - resampled.double().mean() + value)
