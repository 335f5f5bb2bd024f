"""The bootstrap: how far a number that was measured on samples would move with other samples."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.95


def _digits(number: float) -> str:
    """Write three significant digits, in full between 0.001 and 100 000."""
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
        """Write it as ``value [low, high]``, three significant digits each; ``failed`` where there is no number."""
        if not math.isfinite(self.value):
            return "failed"
        value, low, high = (_digits(part * scale) for part in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def to_json(self) -> dict[str, float | None]:
        """Return its numbers; None, as JSON has no other word, where one is not finite."""
        return {name: one if math.isfinite(one) else None for name, one in vars(self).items()}

    @classmethod
    def from_json(cls, content: Any, *, worst: float = math.nan) -> "Estimate":
        """Return what ``to_json`` wrote, or the list of the same numbers that earlier comparisons of agents have.

        Args:
            content: What a record has.
            worst: What stands for numbers that were not finite.
        """
        numbers = content if isinstance(content, list) else [content[name] for name in ("value", "low", "high")]
        return cls(*(worst if one is None else float(one) for one in numbers))


def resampling_weights(
    num_classes: int, samples_per_class: int, *, resamples: int, seed: int
) -> Float[Tensor, " resamples classes n"]:
    """Return how often each sample is drawn in each bootstrap resample, drawn within classes."""
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
    """Return a number with the middle 95 % of its resamples, moved to it where they lie beside it.

    At a few samples a resample repeats itself so often that the resamples of a number may lie beside it; and an interval that
    leaves out its own estimate says nothing.
    """
    plain = percentiles(value, resampled)
    if plain.low <= value <= plain.high:
        return plain
    moved = recentred(value, resampled)
    return Estimate(value, min(moved.low, value), max(moved.high, value))


def recentred(value: float, resampled: Float[Tensor, " resamples"]) -> Estimate:
    """Return a number with its resamples' spread around their own mean, moved to the number.

    For numbers that repeated samples bias (Frechet distances, coverage): only the spread of their resamples can be used.
    """
    return percentiles(value, resampled.double() - resampled.double().mean() + value)
