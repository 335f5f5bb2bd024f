"""A power of the noise's variance as schedule: strong at high noise, and ending earlier for higher powers.

Source: Wang 2024, section 4.7, which compares the powers 0.5, 2 and 8 of the whole factor on the gradient. Guided noise already
has a factor sigma_t, the power 0.5: as weights they are the powers 0, 1.5 and 7.5, and the standard is a constant.
"""

from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Power
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

THESIS = (2.0, 8.0)
"""The thesis' powers besides the standard 0.5; it does not give their scale."""
STANDARD = 0.5
"""The power that guided noise already contains."""


def study(testbed: str = "fashion") -> Study:
    """Search scale and power, against the thesis' powers at the scales of good constants, and those constants."""
    scope = scope_of(testbed)
    guide = ClassEnergy(scope.classifier)
    scale = scope.constants[-1]

    def space(trial: BaseTrial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        return Guidance(guide, Power(scale, trial.suggest_float("power", 0.0, 8.0)))

    thesis = tuple(
        Baseline(
            f"thesis: power {p:g}, s={scale:g}",
            Guidance(guide, Power(scale, p - STANDARD)),
            params={"scale": scale, "power": p - STANDARD},
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
