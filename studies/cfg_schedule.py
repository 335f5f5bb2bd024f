"""Classifier-free guidance by noise level: constant, in an interval, linear, high and then off, or a curve through knots.

Quality and cost are both objectives: where the weight is 0 (a scale of 1 in diffusers), the network is not evaluated without the
class or prompt, so that such a step costs half.

Sources: Ho and Salimans 2022; Kynkaanniemi et al. 2024 (an interval).
"""

from collections.abc import Callable

from optuna.trial import BaseTrial

from guidegym import (
    Carried,
    ClassifierFree,
    ConditionalDenoiser,
    Constant,
    FlowProcess,
    Guidance,
    Interval,
    Knots,
    Linear,
    Stages,
)
from guidegym.guidance import Schedule
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

LARGEST = 9.0
"""Largest weight to try."""
KNOTS = 4
SCALES = (0.5, 1.0, 2.0, 4.0)
"""Constant weights to compare with."""
STEP = 0.25
"""Resolution of weights: a weight of exactly 0 must be within reach."""


def _by_level(schedule: Schedule) -> Schedule:
    """Return a schedule over the noise level: ``u`` is the signal's share ``a / (a + sigma)``, 0 at pure noise."""
    return Carried(schedule, FlowProcess())


def _weight(trial: BaseTrial, name: str) -> float:
    return trial.suggest_float(name, 0.0, LARGEST, step=STEP)


def _interval(trial: BaseTrial) -> Schedule:
    start = trial.suggest_float("start", 0.0, 0.9)
    end = start + trial.suggest_float("length", 0.05, 1.0)
    return _by_level(Interval(_weight(trial, "inside"), 0.0, start, min(end, 1.0)))


def _high_then_off(trial: BaseTrial) -> Schedule:
    return _by_level(Stages(_weight(trial, "high"), 0.0, trial.suggest_float("switch", 0.05, 1.0)))


FAMILIES: dict[str, Callable[[BaseTrial], Schedule]] = {
    "constant": lambda trial: Constant(_weight(trial, "weight")),
    "interval": _interval,
    "linear": lambda trial: _by_level(Linear(_weight(trial, "noisy"), _weight(trial, "clean"))),
    "high_then_off": _high_then_off,
    "knots": lambda trial: _by_level(Knots(tuple(_weight(trial, f"knot{place}") for place in range(KNOTS)))),
}


def _guided(weight: Schedule) -> Guidance:
    return Guidance(ClassifierFree(), weight, base_model=ConditionalDenoiser())


def study(testbed: str = "fashion") -> Study:
    """Search the family and its weights, for quality and for cost, against constant weights."""
    scope = scope_of(testbed)

    def space(trial: BaseTrial) -> Guidance:
        return _guided(FAMILIES[trial.suggest_categorical("family", list(FAMILIES))](trial))

    constants = tuple(
        Baseline(f"constant {value:g}", _guided(Constant(value)), params={"family": "constant", "weight": value})
        for value in (0.0, *SCALES)
    )
    return Study(
        name="cfg_schedule",
        description="Classifier-free guidance by noise level: five families, for quality and for cost",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=constants,
        objectives=("kid", "evaluations"),
        samples_per_class=scope.samples_per_class,
        num_trials=40,
        confirm_per_class=scope.confirm_per_class,
    )
