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
"""Files that all claims share, beside their own."""
Verdict = Literal["holds", "does not hold", "undecided", "too few samples"]
FEWEST = 1000
"""Fewest samples per method for a verdict."""
LARGEST_SCORE_ERROR = 0.9
"""Largest score error of a classifier in a claim about the density it learned; a score of 0 has error 1."""


@dataclass(frozen=True, eq=False)
class Effect:
    """One number that is positive, or above the threshold of the rule, if the claim holds.

    Args:
        value: The number.
        draws: The number for each bootstrap resample.
        counted: Whether the number is an exact count rather than an estimate from samples.
        stepped: Whether it moves in steps, like a choice from a grid; its interval is then that of the raw resamples.
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
        """Return an effect that is an exact count."""
        return cls(value, torch.full((2,), value, dtype=torch.float64), counted=True)

    @property
    def estimate(self) -> Estimate:
        """The number with its 95 % interval from the recentred resamples, or from the raw ones if it is stepped."""
        if not (math.isfinite(self.value) and bool(self.draws.isfinite().all())):
            return Estimate(self.value, -math.inf, math.inf)
        return (percentiles if self.stepped else recentred)(self.value, self.draws)


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Args:
        name: Its name.
        paper: Which paper.
        place: Table, figure or section.
        says: The claim, as a sentence.
        effect: The measured effect, in words; larger values favour the claim.
        run: Measures it.
        above: Threshold: the claim holds if the whole interval of the effect is above it, and does not hold if it is below.
        classifiers: Classifiers that the testbed must provide.
        conditionals: Conditional denoisers that it must provide.
        calibrated: Classifiers whose own score the claim is about; they must have learned one.
        alike: Classifiers whose training methods are compared; they must have seen equally many labelled examples in equally
            many updates.
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
        """Digest of the source files behind the effect, which detects an edited claim; empty if it has no source file."""
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
        """Apply the rule to an effect measured on ``samples`` per method; None if it was counted."""
        if samples is not None and samples < FEWEST:
            return "too few samples"
        if effect.low > self.above:
            return "holds"
        return "does not hold" if effect.high < self.above else "undecided"

    def missing(self, testbed: Testbed) -> list[str]:
        """Return the required networks that the testbed lacks."""
        return [name for name in self.classifiers if name not in testbed.classifiers] + [
            name for name in self.conditionals if name not in testbed.conditionals
        ]

    def unfit(self, testbed: Testbed) -> list[str]:
        """Return the reasons why the testbed's networks cannot decide the claim: no learned score, or unequal training."""
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
        """Return the unknown facts about the networks' training that would decide whether they are fit."""
        known = testbed.trained
        scores = [name for name in self.calibrated if name not in known or known[name].score_error is None]
        unknown = [f"the score error of {name} is not known" for name in scores]
        return unknown + [f"the training of {name} is not known" for name in self.alike if name not in known]


def claimed(name: str = "", **about: Any) -> Callable[[Callable[[Lab], Effect]], Claim]:
    """Turn the function that measures an effect into a registered claim; a decorator.

    Args:
        name: Name of the claim (default: the function's name).
        about: The other fields of ``Claim``; ``says`` defaults to the function's docstring.
    """

    def make(run: Callable[[Lab], Effect]) -> Claim:
        says = {"says": inspect.getdoc(run) or "", **about}
        claim = Claim(name or run.__name__, run=run, **says)
        return register("claim", claim.name)(claim)

    return make


def load_claim(where: str) -> Claim:
    """Load a claim by name, by reference, or from a Python file with a function ``claim()``.

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
