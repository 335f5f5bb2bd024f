"""The record of a claim: what a paper says, what is run to test it, and the rule of the verdict."""

import hashlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.evaluation.sample_sets.metrics import Measured
from guidegym.finding import find_module, shipped
from guidegym.metrics.resampling import Estimate, percentiles, recentred
from guidegym.reproduction.lab import Lab
from guidegym.testbeds import Testbed
from guidegym.testbeds.references import file_digest

CLAIMS = "guidegym.claims"
SHARED = ("claim.py", "families.py", "lab.py")
"""What all claims are run by, beside their own files."""
Verdict = Literal["holds", "does not hold", "undecided"]


@dataclass(frozen=True, eq=False)
class Effect:
    """One number that is positive, or above the rule's threshold, where the claim holds.

    Args:
        value: The number.
        draws: The same of each bootstrap resample.
        stepped: Whether it moves in steps, as a choice from a grid does: then its interval is that of the resamples as they are.
    """

    value: float
    draws: Float[Tensor, " resamples"]
    stepped: bool = False

    @classmethod
    def less(cls, one: Measured, other: Measured) -> "Effect":
        """Return how much smaller ``one`` is than ``other`` on the same rows."""
        return cls(other.value - one.value, other.draws - one.draws)

    @classmethod
    def more(cls, one: Measured, other: Measured) -> "Effect":
        """Return how much larger ``one`` is than ``other`` on the same rows."""
        return cls.less(other, one)

    @classmethod
    def known(cls, value: float) -> "Effect":
        """Return an effect that is counted, not sampled."""
        return cls(value, torch.full((2,), value, dtype=torch.float64))

    @property
    def estimate(self) -> Estimate:
        """The number with its 95 % interval: the resamples' spread around their own mean, or their own where it is stepped."""
        if not (math.isfinite(self.value) and bool(self.draws.isfinite().all())):
            return Estimate(self.value, -math.inf, math.inf)
        return (percentiles if self.stepped else recentred)(self.value, self.draws)


@dataclass(frozen=True)
class Claim:
    """What a paper says.

    Args:
        name: Its name.
        paper: Which paper.
        place: Table, figure or section.
        says: The claim, as a sentence.
        effect: What is measured, in words; larger is for the claim.
        run: Measures it.
        above: The claim holds where the whole interval of the effect is above this, and does not where it is below.
        classifiers: Classifiers that the testbed must have.
        conditionals: Conditional denoisers that it must have.
        unit: Unit of the effect.
    """

    name: str
    paper: str
    place: str
    says: str
    effect: str
    run: Callable[[Lab], Effect]
    above: float = 0.0
    classifiers: Sequence[str] = ()
    conditionals: Sequence[str] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise GuideGymError(f"`name` of a claim is that of its files: letters, digits, _ and -, got {self.name!r}")

    @property
    def code(self) -> str:
        """Digest of the files that its number comes from, by which an edited claim is known; empty where it is in no file."""
        try:
            file = inspect.getsourcefile(self.run)
        except TypeError:
            file = None
        if file is None:
            return ""
        files = [Path(file), *(Path(__file__).parent / name for name in SHARED)]
        return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()[:16]

    @property
    def rule(self) -> str:
        """The rule of the verdict, in words."""
        return (
            f"holds if the 95 % interval of the effect lies above {self.above:g}{self.unit}, does not if below, "
            "else undecided"
        )

    def verdict(self, effect: Estimate) -> Verdict:
        """Apply the rule."""
        if effect.low > self.above:
            return "holds"
        return "does not hold" if effect.high < self.above else "undecided"

    def missing(self, testbed: Testbed) -> list[str]:
        """Return the networks that the claim needs and the testbed lacks."""
        return [name for name in self.classifiers if name not in testbed.classifiers] + [
            name for name in self.conditionals if name not in testbed.conditionals
        ]


def shipped_claims() -> list[str]:
    """Return the names of the shipped claims."""
    return shipped(CLAIMS)


def load_claim(where: str) -> Claim:
    """Load a claim: a shipped name, a dotted module, or a path to a Python file with a function ``claim()``.

    Raises:
        GuideGymError: If there is no such claim, or its file has no such function.
    """
    make = getattr(find_module(where, package=CLAIMS, noun="claim"), "claim", None)
    if not callable(make) or inspect.signature(make).parameters:
        raise GuideGymError(f"{where} has no function `claim` without arguments")
    claim = make()
    if not isinstance(claim, Claim):
        raise GuideGymError(f"`claim` of {where} must return a guidegym.reproduction.Claim, got {type(claim).__name__}")
    return claim
