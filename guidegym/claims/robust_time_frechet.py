"""A robust time-dependent guide beats a vanilla one, each at its best scale."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    robust, vanilla = lab.compare_best(
        plain(lab, "robust_time"), plain(lab, "time_dependent"), ("robust", "vanilla"), "frechet"
    )
    return Effect.less(robust, vanilla)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="robust_time_frechet",
        paper="Kawar et al. 2022",
        place="Table 1",
        says="A robust time-dependent guide beats a vanilla one, each at its best scale.",
        effect="Frechet distance with the vanilla guide less that with the robust one",
        run=_run,
        classifiers=("robust_time", "time_dependent"),
        alike=("robust_time", "time_dependent"),
    )
