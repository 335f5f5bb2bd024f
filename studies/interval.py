"""Guidance in an interval of the chain: late starts, early ends, two stages.

Sources: Wang 2024, Figures 4.4 (on after 20 % of the steps) and 4.7 (30 for one half, 11 for the other); Kynkaanniemi et al. 2024
(an interval of noise levels).
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Interval, NoiseInterval, Stages
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

LATE = 0.2
"""Fraction of the chain after which the thesis switches guidance on."""
LATE_SCALE = 10.0
"""The thesis' scale there, for an off-the-shelf robust classifier and eta = 1."""
STAGES = (30.0, 11.0)
"""The thesis' two scales, each for half of the chain."""
STAGES_ETA = 0.5
"""The eta used with them."""
LEVELS = (0.28, 2.9)
"""Noise levels between which Kynkaanniemi et al. guide one of their models."""


def study(testbed: str = "fashion") -> Study:
    """Search the scale and the two ends of the interval, as fractions of the chain."""
    scope = scope_of(testbed)
    guide = ClassEnergy(scope.classifier)
    scale = scope.constants[-1]

    def space(trial: BaseTrial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        start = trial.suggest_float("start", 0.0, 0.9)
        end = start + trial.suggest_float("length", 0.1, 1.0)
        return Guidance(guide, Interval(scale, 0.0, start, min(end, 1.0)))

    late = tuple(
        Baseline(
            f"{name}on after {LATE:.0%}, s={scale:g}",
            Guidance(guide, Interval(scale, 0.0, LATE, 1.0)),
            params={"scale": scale, "start": LATE, "length": 1.0},
        )
        for name, scale in (("thesis: ", LATE_SCALE), ("", scale))
    )
    others = (
        Baseline(
            f"thesis: {STAGES[0]:g}, then {STAGES[1]:g}, eta={STAGES_ETA:g}",
            Guidance(guide, Stages(*STAGES, 0.5)),
            sampler=replace(SAMPLER, eta=STAGES_ETA),
        ),
        Baseline(
            f"noise levels {LEVELS[0]:g} to {LEVELS[1]:g}, s={scale:g}",
            Guidance(guide, NoiseInterval(scale, 0.0, *LEVELS)),
        ),
    )
    constants = tuple(
        Baseline(
            f"constant {value:g}",
            Guidance(guide, Constant(value)),
            params={"scale": value, "start": 0.0, "length": 1.0},
        )
        for value in scope.constants
    )
    return Study(
        name="interval",
        description="Guidance within an interval of the chain: scale, start and length",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(*late, *others, *constants, Baseline("unguided", Guidance())),
        samples_per_class=scope.samples_per_class,
        num_trials=24,
        confirm_per_class=scope.confirm_per_class,
    )
