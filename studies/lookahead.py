"""Look-ahead: the guide's gradient after a few normalised steps uphill, applied at the current sample.

Source: Wang 2024, section 4.9: 100 steps of 0.01, with an off-the-shelf robust classifier and a linear schedule.
"""

from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Linear, LookAhead
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

MAX_STEPS = 4
"""Each step costs one more gradient: a trial with four costs four times the plain guide's evaluations of the classifier."""


def study(testbed: str = "fashion") -> Study:
    """Search the scale, the number of steps and their length, against the thesis' hundred steps and the plain guide."""
    scope = scope_of(testbed)
    plain = ClassEnergy(scope.off_the_shelf)
    scale = scope.max_scale / 2

    def space(trial: BaseTrial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        steps = trial.suggest_int("num_steps", 1, MAX_STEPS)
        size = trial.suggest_float("size", 0.01, 4.0, log=True)
        return Guidance(LookAhead(plain, num_steps=steps, size=size), Constant(scale))

    thesis = LookAhead(plain, num_steps=100, size=0.01)
    shorter = LookAhead(plain, num_steps=MAX_STEPS, size=1 / MAX_STEPS)
    return Study(
        name="lookahead",
        description="Look-ahead guidance: scale, number of steps and their length",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(
            Baseline(f"thesis: 100 steps of 0.01, linear from {scale:g}", Guidance(thesis, Linear(scale, 0.0))),
            Baseline(
                f"{MAX_STEPS} steps as long together, s={scale:g}",
                Guidance(shorter, Constant(scale)),
                params={"scale": scale, "num_steps": MAX_STEPS, "size": 1 / MAX_STEPS},
            ),
            Baseline(f"no look-ahead, s={scale:g}", Guidance(plain, Constant(scale))),
            Baseline(f"no look-ahead, s={scale / 4:g}", Guidance(plain, Constant(scale / 4))),
            Baseline("unguided", Guidance()),
        ),
        samples_per_class=max(scope.samples_per_class // 2, 2),
        num_trials=20,
        confirm_per_class=max(scope.confirm_per_class // 2, 2),
    )
