"""The sigmoid schedule of the robust-guidance thesis: y0, t0, k and the scale, over the class-energy guide.

Source: robust_ebm_thesis.txt, eq. 4.4 and sections 4.4-4.6.
"""

from dataclasses import replace

import optuna

from guidegym import DDIM, ClassEnergy, Constant, Guidance, Sigmoid
from guidegym.search import Baseline, Study

CLASSIFIERS = {"fashion": "robust", "gaussians": "exact"}
"""The off-the-shelf classifier of each shipped testbed; a user's own testbed is expected to call it ``robust``."""
MAX_SCALE = 40.0
"""Upper end of the scale; the lower is 0, no guidance."""
MAX_STEEPNESS = 0.05
"""Bound on |k|: a positive k is strong at high noise, as in the thesis, a negative one at low noise."""
CONSTANTS = (2.0, 4.0, 8.0, 16.0, 32.0)
THESIS = {
    "thesis A": ({"scale": 12.0, "y0": 0.1, "t0": 650.0, "k": 0.01}, 1.0),
    "thesis B": ({"scale": 4.0, "y0": 0.05, "t0": 500.0, "k": 0.02}, 0.8),
}
"""The thesis' two settings, each with the ``eta`` it was used with."""


def study(testbed: str = "fashion") -> Study:
    """Search the sigmoid's four parameters against no guidance, a sweep of constants and the thesis' two settings."""
    guide = ClassEnergy(CLASSIFIERS.get(testbed, "robust"))
    sampler = DDIM(20, eta=1.0)

    def space(trial: optuna.Trial) -> Guidance:
        scale = trial.suggest_float("scale", 0.0, MAX_SCALE)
        y0 = trial.suggest_float("y0", 0.0, 1.0)
        t0 = trial.suggest_float("t0", 0.0, 1000.0)
        k = trial.suggest_float("k", -MAX_STEEPNESS, MAX_STEEPNESS)
        return Guidance(guide, Sigmoid(scale=scale, y0=y0, t0=t0, k=k))

    constants = tuple(
        Baseline(
            f"constant {value:g}",
            Guidance(guide, Constant(value)),
            # A sigmoid whose floor is 1 is that constant, so the search learns from the sweep.
            params={"scale": value, "y0": 1.0, "t0": 500.0, "k": 0.01},
        )
        for value in CONSTANTS
    )
    thesis = tuple(
        Baseline(
            f"{name} (s={params['scale']:g}, eta={eta:g})",
            Guidance(guide, Sigmoid(**params)),
            sampler=replace(sampler, eta=eta),
            params=params if eta == sampler.eta else None,
        )
        for name, (params, eta) in THESIS.items()
    )
    return Study(
        name="sigmoid_schedule",
        description="Sigmoid schedule (y0, t0, k) and scale of the class-energy guide",
        testbed=testbed,
        sampler=sampler,
        space=space,
        baselines=(Baseline("unguided", Guidance()), *constants, *thesis),
    )
