"""Entropy-driven scaling, alone and with progressive guidance: stronger where the classifier is more certain, up to a bound.

Sources: Dinh et al. 2023, section 6.2 and Table 3; Zheng et al. 2022.
"""

from dataclasses import replace

from guidegym.studies.prog_gamma import MAX_GAMMA, progressive, targets, vanilla
from optuna.trial import BaseTrial

from guidegym import Constant, EntropyScaled, Guidance, Likelihood, OneHot
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, scope_of

GAMMA = 0.04
"""The paper's update."""
BOUND = 10.0
"""The bound of the baselines; the sources have no bound."""


def study(testbed: str = "fashion") -> Study:
    """Search scale, bound and gamma, against plain guidance with either extension, both and neither."""
    scope = scope_of(testbed)
    start = next(iter(targets(scope).values()))
    weight = scope.likelihoods[1]

    def scaled(weight: float, most: float, gamma: float) -> Guidance:
        plain = progressive(scope.classifier, weight, gamma, start)
        guided: Guidance = replace(plain, guide=EntropyScaled(Likelihood(scope.classifier), most=most))
        return guided

    def space(trial: BaseTrial) -> Guidance:
        weight = trial.suggest_float("w", 0.0, scope.max_scale / 2)
        most = trial.suggest_float("most", 1.0, 100.0, log=True)
        return scaled(weight, most, trial.suggest_float("gamma", 0.0, MAX_GAMMA))

    alone = Guidance(EntropyScaled(Likelihood(scope.classifier), most=BOUND), Constant(weight), target=OneHot())
    return Study(
        name="prog_entropy",
        description="Entropy-driven scaling with progressive guidance: scale, bound and gamma",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(
            Baseline(
                f"EDS and gamma {GAMMA:g}",
                scaled(weight, BOUND, GAMMA),
                params={"w": weight, "most": BOUND, "gamma": GAMMA},
            ),
            Baseline(
                f"gamma {GAMMA:g} alone", scaled(weight, 1.0, GAMMA), params={"w": weight, "most": 1.0, "gamma": GAMMA}
            ),
            Baseline("EDS alone", alone),
            *vanilla(scope),
            Baseline("unguided", Guidance()),
        ),
        samples_per_class=scope.samples_per_class,
        num_trials=24,
        confirm_per_class=scope.confirm_per_class,
    )
