"""The sigmoid schedule of the robust-guidance thesis: y0, t0, k and the scale, over the class-energy guide.

Source: Wang 2024, eq. 4.4 and sections 4.4-4.6.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from guidegym import ClassEnergy, Constant, Guidance, Sigmoid
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

MAX_STEEPNESS = 0.02
"""Bound on |k|: a positive k is strong at high noise, as in the thesis, a negative k at low noise."""
MAX_FLOOR = 0.5
"""Bound on y0; flatter curves are those with a small k."""
THESIS = {
    "thesis A": ({"scale": 12.0, "y0": 0.1, "t0": 650.0, "k": 0.01}, 1.0),
    "thesis B": ({"scale": 4.0, "y0": 0.05, "t0": 500.0, "k": 0.02}, 0.8),
}
"""The thesis' two settings, each with its ``eta``."""


def study(testbed: str = "fashion") -> Study:
    """Search the sigmoid's four parameters against no guidance, a sweep of constants and the thesis' two settings.

    A user's testbed is searched like ``fashion`` and must name its classifier ``time_dependent``.
    """
    scope = scope_of(testbed)
    guide = ClassEnergy(scope.classifier)

    def space(trial: BaseTrial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, scope.max_scale)
        y0 = trial.suggest_float("y0", 0.0, MAX_FLOOR)
        t0 = trial.suggest_float("t0", 0.0, 1000.0)
        k = trial.suggest_float("k", -MAX_STEEPNESS, MAX_STEEPNESS)
        return Guidance(guide, Sigmoid(scale=scale, y0=y0, t0=t0, k=k))

    constants = tuple(
        Baseline(
            f"constant {value:g}",
            Guidance(guide, Constant(value)),
            # A sigmoid without slope is half its scale everywhere: the constants lie inside the space, the search learns
            # from them, and their neighbours are tilted versions of them.
            params={"scale": 2 * value, "y0": 0.0, "t0": 500.0, "k": 0.0},
        )
        for value in scope.constants
    )
    thesis = tuple(
        Baseline(
            f"{name} (s={params['scale']:g}, eta={eta:g})",
            Guidance(guide, Sigmoid(**params)),
            sampler=replace(SAMPLER, eta=eta),
            params=params if eta == SAMPLER.eta else None,
        )
        for name, (params, eta) in THESIS.items()
    )
    return Study(
        name="sigmoid_schedule",
        description="Sigmoid schedule (y0, t0, k) and scale of the class-energy guide",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(Baseline("unguided", Guidance()), *constants, *thesis),
        samples_per_class=scope.samples_per_class,
        num_trials=24,
        confirm_per_class=scope.confirm_per_class,
    )
