"""Progressive guidance: the update gamma of the information target, its start, and the scale.

Source: Dinh et al. 2023, eq. 4-5 and Tables 5-6.
"""

from optuna.trial import BaseTrial

from guidegym import Constant, Guidance, LabelSmoothing, Likelihood, OneHot, Similarity, Uniform, rate_of_gamma
from guidegym.search import Baseline, Study
from guidegym.search.scope import SAMPLER, Scope, scope_of

PAPER = (0.04, 0.0, 0.06, 0.1, 0.2)
"""The paper's updates per step in a chain of 250, its main one first."""
MAX_GAMMA = 0.2
Degree = OneHot | Uniform | LabelSmoothing | Similarity


def targets(scope: Scope) -> dict[str, Degree]:
    """Return the initial targets by name: from the descriptions if there are any, label smoothing, uniform."""
    described = {} if scope.similarity is None else {"similarity": Similarity(scope.similarity)}
    return {**described, "smoothing": LabelSmoothing(0.6), "uniform": Uniform()}


def progressive(classifier: str, weight: float, gamma: float, target: Degree) -> Guidance:
    """Return progressive guidance with the update ``gamma`` per step of a chain of 250."""
    return Guidance(Likelihood(classifier), Constant(weight), rate=Constant(rate_of_gamma(gamma)), target=target)


def vanilla(scope: Scope) -> tuple[Baseline, ...]:
    """Return plain guidance at suitable weights for the likelihood, as baselines."""
    guide = Likelihood(scope.classifier)
    return tuple(Baseline(f"vanilla, w={w:g}", Guidance(guide, Constant(w))) for w in scope.likelihoods)


def study(testbed: str = "fashion") -> Study:
    """Search gamma, the scale and the initial target, against the paper's updates and plain guidance."""
    scope = scope_of(testbed)
    starts = targets(scope)
    first = next(iter(starts))
    weight = scope.likelihoods[-2]

    def space(trial: BaseTrial) -> Guidance:
        start = trial.suggest_categorical("degree", list(starts))
        gamma = trial.suggest_float("gamma", 0.0, MAX_GAMMA)
        return progressive(scope.classifier, trial.suggest_float("w", 0.0, scope.max_scale), gamma, starts[start])

    def baseline(gamma: float, start: str) -> Baseline:
        return Baseline(
            f"gamma {gamma:g}, {start}",
            progressive(scope.classifier, weight, gamma, starts[start]),
            params={"degree": start, "gamma": gamma, "w": weight},
        )

    return Study(
        name="prog_gamma",
        description="Progressive guidance: gamma, scale and the target to start from",
        testbed=testbed,
        sampler=SAMPLER,
        space=space,
        baselines=(
            *(baseline(gamma, first) for gamma in PAPER),
            *(baseline(PAPER[0], start) for start in list(starts)[1:]),
            *vanilla(scope),
            Baseline("unguided", Guidance()),
        ),
        samples_per_class=scope.samples_per_class,
        num_trials=28,
        confirm_per_class=scope.confirm_per_class,
    )
