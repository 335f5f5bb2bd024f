"""Without its schedule, progressive guidance fails."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    moving, still = lab.compare_best(
        progressive(lab), progressive(lab, gamma=0.0), ("progressive", "gamma = 0"), "frechet"
    )
    return Effect.less(moving, still)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="prog_gamma_zero",
        paper="Dinh et al. 2023",
        place="Table 5",
        says="A degree that never moves to the wanted class (gamma = 0) fails.",
        effect="Frechet distance with gamma = 0 less that with the moving degree, each at its best weight",
        run=_run,
    )
