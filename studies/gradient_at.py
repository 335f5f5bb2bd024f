"""Where to evaluate an off-the-shelf classifier: at the noisy image, or at the clean estimate, with or without the Jacobian.

Sources: Wang 2024, Algorithm 6 (at the noisy image); Bansal et al. 2023 (at the clean estimate, through the denoiser).
"""

from optuna.trial import BaseTrial

from guidegym import AtClean, ClassEnergy, Constant, Guidance
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of


def study(testbed: str = "fashion") -> Study:
    """Search the place and the scale, against every place at two scales."""
    scope = scope_of(testbed)
    noisy = ClassEnergy(scope.off_the_shelf)
    places: dict[str, ClassEnergy | AtClean] = {
        "noisy": noisy,
        "clean": AtClean(noisy),
        "clean, no Jacobian": AtClean(noisy, jacobian=False),
    }

    def space(trial: BaseTrial) -> Guidance:
        place = trial.suggest_categorical("place", list(places))
        return Guidance(places[place], Constant(trial.suggest_float("scale", 0.1, 2 * scope.max_scale, log=True)))

    tried = tuple(
        Baseline(
            f"{place}, s={scale:g}",
            Guidance(guide, Constant(scale)),
            params={"place": place, "scale": scale},
        )
        for scale in (scope.max_scale / 2, scope.max_scale / 16)
        for place, guide in places.items()
    )
    return Study(
        name="gradient_at",
        description="Where the gradient is taken: noisy image, clean estimate, with or without the Jacobian",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(*tried, Baseline("unguided", Guidance())),
        samples_per_class=scope.samples_per_class,
        num_trials=24,
        confirm_per_class=scope.confirm_per_class,
    )
