"""The record of a claim: what a paper says, what is run to test it, and the rule of the verdict."""

import hashlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.claims.lab import Lab
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.metrics.resampling import Estimate, percentiles, recentred
from guidegym.registry import find, register
from guidegym.testbeds import Testbed
from guidegym.testbeds.references import file_digest

SHARED = ("claim.py", "families.py", "lab.py")
"""What all claims are run by, beside their own files."""
Verdict = Literal["holds", "does not hold", "undecided", "too few samples"]
FEWEST = 1000
"""Samples of each method that a verdict rests on, at least."""
LARGEST_SCORE_ERROR = 0.9
"""Score error that a classifier has at most where a claim is about the density that it learned; a score of 0 has 1."""


@dataclass(frozen=True, eq=False)
class Effect:
    """One number that is positive, or above the rule's threshold, where the claim holds.

    Args:
        value: The number.
        draws: The same of each bootstrap resample.
        counted: Whether it is counted, and no matter of samples.
        stepped: Whether it moves in steps, as a choice from a grid does: then its interval is that of the resamples as they are.
    """

    value: float
    draws: Float[Tensor, " resamples"]
    counted: bool = False
    stepped: bool = False

    @classmethod
    def less(cls, one: Measurement, other: Measurement) -> "Effect":
        """Return how much smaller ``one`` is than ``other`` on the same rows."""
        return cls(other.value - one.value, other.draws - one.draws)

    @classmethod
    def more(cls, one: Measurement, other: Measurement) -> "Effect":
        """Return how much larger ``one`` is than ``other`` on the same rows."""
        return cls.less(other, one)

    @classmethod
    def known(cls, value: float) -> "Effect":
        """Return an effect that is counted, not sampled."""
        return cls(value, torch.full((2,), value, dtype=torch.float64), counted=True)

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
        calibrated: Those of the classifiers whose own score it is about: they must have learned one.
        alike: Those of the classifiers that are compared by their training: they must have seen as many labelled examples, in
            as many updates.
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
    calibrated: Sequence[str] = ()
    alike: Sequence[str] = ()
    unit: str = ""

    @property
    def __wrapped__(self) -> Callable[[Lab], Effect]:
        """The function that the claim is made of."""
        return self.run

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
            f"else undecided; at least {FEWEST} samples per method"
        )

    def verdict(self, effect: Estimate, samples: int | None = None) -> Verdict:
        """Apply the rule to an effect that was measured on so many samples of each method; None where it was counted."""
        if samples is not None and samples < FEWEST:
            return "too few samples"
        if effect.low > self.above:
            return "holds"
        return "does not hold" if effect.high < self.above else "undecided"

    def missing(self, testbed: Testbed) -> list[str]:
        """Return the networks that the claim needs and the testbed lacks."""
        return [name for name in self.classifiers if name not in testbed.classifiers] + [
            name for name in self.conditionals if name not in testbed.conditionals
        ]

    def unfit(self, testbed: Testbed) -> list[str]:
        """Return why the testbed's networks cannot decide the claim: what they did not learn, or did not learn alike."""
        known = testbed.trained
        errors = {name: known[name].score_error for name in self.calibrated if name in known}
        why = [
            f"{name} learned no score: its error is {error:.3f}, and that of none is 1"
            for name, error in errors.items()
            if error is not None and not error < LARGEST_SCORE_ERROR
        ]
        budgets = {name: (known[name].examples, known[name].updates) for name in self.alike if name in known}
        if len(set(budgets.values())) > 1:
            said = ", ".join(f"{name} {seen} in {updates}" for name, (seen, updates) in budgets.items())
            why.append(f"they were not trained alike, labelled examples in updates: {said}")
        return why

    def untold(self, testbed: Testbed) -> list[str]:
        """Return what is not known of the training of the testbed's networks, and would decide whether they are fit."""
        known = testbed.trained
        scores = [name for name in self.calibrated if name not in known or known[name].score_error is None]
        budgets = [name for name in self.alike if name not in known]
        return [f"the score error of {name} is not known" for name in scores] + [
            f"the training of {name} is not known" for name in budgets
        ]


def claimed(name: str = "", **about: Any) -> Callable[[Callable[[Lab], Effect]], Claim]:
    """Make a function the measurement of a claim, and register the claim; a decorator.

    Args:
        name: Name of the claim; default: that of the function.
        about: What else a ``Claim`` is made of; what it says is the function's docstring where it is left out.
    """

    def make(run: Callable[[Lab], Effect]) -> Claim:
        says = {"says": inspect.getdoc(run) or "", **about}
        claim = Claim(name or run.__name__, run=run, **says)
        return register("claim", claim.name)(claim)

    return make


def load_claim(where: str) -> Claim:
    """Load a claim: by its name, by a reference, or of a Python file with a function ``claim()``.

    Raises:
        GuideGymError: If there is no such claim, or its file has no such function.
    """
    claim = find("claim", where)
    if not isinstance(claim, Claim):
        if not callable(claim) or inspect.signature(claim).parameters:
            raise GuideGymError(f"{where} has no function `claim` without arguments")
        claim = claim()
    if not isinstance(claim, Claim):
        raise GuideGymError(f"`claim` of {where} must return a guidegym.claims.claim.Claim, got {type(claim).__name__}")
    return claim
