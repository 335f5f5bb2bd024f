"""With few labels classifier-free guidance collapses in coverage."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import classifier_free, plain
from guidegym.reproduction.lab import Lab

FREE_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def _run(lab: Lab) -> Effect:
    guided = lab.best({"CE": plain(lab, "time_dependent-5")}, metric="intra_kid")
    free = lab.best({"classifier-free": classifier_free("conditional-5")}, metric="intra_kid", weights=FREE_WEIGHTS)
    theirs, ours = lab.measured({**free, **guided}, ["intra_coverage"]).values()
    return Effect.more(ours["intra_coverage"], theirs["intra_coverage"])


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="classifier_free_coverage",
        paper="CG-SC",
        place="Figure 4 (c)",
        says="With 5 % of the labels classifier-free guidance trained on them collapses in coverage.",
        effect="intra-coverage of classifier guidance less that of classifier-free guidance, each at its best weight",
        run=_run,
        classifiers=("time_dependent-5",),
        conditionals=("conditional-5",),
    )
