"""Without its schedule, progressive guidance fails."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    still = progressive(lab, gamma=0.0)
    weight = lab.best_weight(progressive(lab), metric="frechet", name="progressive")
    own = lab.best_weight(still, metric="frechet", name="gamma = 0")
    methods = {
        f"progressive, w={weight:g}": progressive(lab)(weight),
        f"gamma = 0, w={own:g}": still(own),
        # Its best weight may be next to none: at the other's weight it shows where a degree that stays leads to.
        f"gamma = 0 under w={weight:g}": still(weight),
    }
    ours, theirs, _ = lab.measured(methods, ["frechet"]).values()
    return Effect.less(ours["frechet"], theirs["frechet"])


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
