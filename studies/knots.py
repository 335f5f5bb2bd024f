"""A free curve: five weights along the chain, and a monotone spline through them. The general open-loop schedule."""

from guidegym.studies.sigmoid_schedule import THESIS
from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Knots, Sigmoid
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

NUM_KNOTS = 5


def study(testbed: str = "fashion") -> Study:
    """Search the five weights, against constants and the thesis' sigmoid."""
    scope = scope_of(testbed)
    guide = ClassEnergy(scope.classifier)

    def space(trial: BaseTrial) -> Guidance:
        weights = tuple(trial.suggest_float(f"weight_{i}", 0.0, scope.max_scale) for i in range(NUM_KNOTS))
        return Guidance(guide, Knots(weights))

    constants = tuple(
        Baseline(
            f"constant {value:g}",
            Guidance(guide, Constant(value)),
            params={f"weight_{i}": value for i in range(NUM_KNOTS)},
        )
        for value in scope.constants
    )
    params, _ = THESIS["thesis A"]
    return Study(
        name="knots",
        description="A monotone spline through five weights along the chain, class-energy guide",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(
            *constants,
            Baseline("thesis A", Guidance(guide, Sigmoid(**params))),
            Baseline("unguided", Guidance()),
        ),
        samples_per_class=scope.samples_per_class,
        num_trials=32,
        confirm_per_class=scope.confirm_per_class,
    )
