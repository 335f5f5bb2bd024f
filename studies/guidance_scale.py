"""The scale of plain classifier guidance: lambda_CG of the self-calibration paper.

Source: CG-SC, section 4.1.
"""

from optuna.trial import BaseTrial

from guidegym import Constant, Guidance, Likelihood
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

SWEEP = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5)
"""The paper's sweep."""


def study(testbed: str = "fashion") -> Study:
    """Search the scale, against no guidance and the paper's sweep."""
    scope = scope_of(testbed)
    guide = Likelihood(scope.classifier)

    def space(trial: BaseTrial) -> Guidance:
        return Guidance(guide, Constant(trial.suggest_float("lambda_cg", 0.0, scope.max_scale)))

    sweep = tuple(
        Baseline(f"lambda_CG {value:g}", Guidance(guide, Constant(value)), params={"lambda_cg": value})
        for value in (*SWEEP, *(value for value in scope.likelihoods if value > max(SWEEP)))
    )
    return Study(
        name="guidance_scale",
        description="Scale (lambda_CG) of likelihood guidance",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(*sweep, Baseline("unguided", Guidance())),
        samples_per_class=scope.samples_per_class,
        num_trials=20,
        confirm_per_class=scope.confirm_per_class,
    )
