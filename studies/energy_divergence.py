"""Class energy with the classifier's energy kept close to that of real data: the weight lambda, with the sigmoid schedule.

Source: Wang 2024, eq. 4.5-4.6 and section 4.8, with an off-the-shelf robust classifier.
"""

from dataclasses import replace

from guidegym.studies.sigmoid_schedule import MAX_FLOOR, MAX_STEEPNESS, THESIS
from optuna.trial import BaseTrial

from guidegym import Constant, EnergyDivergence, Guidance, Sigmoid
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

LAMBDA = 0.15
"""The thesis' weight of the divergence, with the schedule of its setting B."""


def study(testbed: str = "fashion") -> Study:
    """Search lambda and the sigmoid's four parameters, against the thesis' setting with and without the divergence."""
    scope = scope_of(testbed)
    classifier = scope.off_the_shelf

    def space(trial: BaseTrial) -> Guidance:
        guide = EnergyDivergence(classifier, trial.suggest_float("lambda", 0.0, 1.0))
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        y0 = trial.suggest_float("y0", 0.0, MAX_FLOOR)
        t0 = trial.suggest_float("t0", 0.0, 1000.0)
        k = trial.suggest_float("k", -MAX_STEEPNESS, MAX_STEEPNESS)
        return Guidance(guide, Sigmoid(scale=scale, y0=y0, t0=t0, k=k))

    params, eta = THESIS["thesis B"]
    thesis, without = (Guidance(EnergyDivergence(classifier, weight), Sigmoid(**params)) for weight in (LAMBDA, 0.0))
    sampler = replace(SAMPLER, eta=eta)
    constants = tuple(
        Baseline(
            f"constant {value:g}, lambda 0",
            Guidance(EnergyDivergence(classifier, 0.0), Constant(value)),
            params={"lambda": 0.0, "scale": 2 * value, "y0": 0.0, "t0": 500.0, "k": 0.0},
        )
        for value in (scope.max_scale / 8, scope.max_scale / 2)
    )
    return Study(
        name="energy_divergence",
        description="Weight (lambda) of the energy divergence, with the sigmoid schedule",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(
            Baseline(f"thesis: lambda {LAMBDA:g}, eta={eta:g}", thesis, sampler=sampler),
            Baseline(f"thesis: lambda 0, eta={eta:g}", without, sampler=sampler),
            Baseline(f"lambda {LAMBDA:g}, eta=1", thesis, params={"lambda": LAMBDA, **params}),
            Baseline("lambda 0, eta=1", without, params={"lambda": 0.0, **params}),
            *constants,
            Baseline("unguided", Guidance()),
        ),
        samples_per_class=scope.samples_per_class,
        num_trials=28,
        confirm_per_class=scope.confirm_per_class,
    )
