"""A power of the noise's variance as schedule: strong at high noise, and over the sooner the higher the power.

Source: Wang 2024, section 4.7, which compares the powers 0.5, 2 and 8.
"""

from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Power
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

THESIS = (0.5, 2.0, 8.0)
"""The thesis' powers; it does not say their scale."""


def study(testbed: str = "fashion") -> Study:
    """Search scale and power, against the thesis' powers at the scales that are good constants, and those constants."""
    scope = scope_of(testbed)
    guide = ClassEnergy(scope.classifier)
    scale = scope.constants[-1]

    def space(trial: BaseTrial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        return Guidance(guide, Power(scale, trial.suggest_float("power", 0.0, 8.0)))

    thesis = tuple(
        Baseline(
            f"thesis: power {p:g}, s={scale:g}", Guidance(guide, Power(scale, p)), params={"scale": scale, "power": p}
        )
        for p in THESIS
    )
    constants = tuple(
        Baseline(f"constant {value:g}", Guidance(guide, Constant(value)), params={"scale": value, "power": 0.0})
        for value in scope.constants
    )
    return Study(
        name="power_schedule",
        description="Power schedule (1 - alpha_bar)^p and its scale, class-energy guide",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(*thesis, *constants, Baseline("unguided", Guidance())),
        samples_per_class=scope.samples_per_class,
        num_trials=24,
        confirm_per_class=scope.confirm_per_class,
    )
