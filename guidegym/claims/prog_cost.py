"""Progressive guidance costs what plain guidance costs."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain, progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    weight = lab.weights[-2]
    lab.measured({"progressive": progressive(lab)(weight), "plain": plain(lab)(weight)}, ["accuracy"])
    ours, theirs = (int(lab.seen[name].evaluations.sum()) for name in ("progressive", "plain"))
    return Effect.known(1.02 - ours / theirs)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="prog_cost",
        paper="Dinh et al. 2023",
        place="Table 7",
        says="Progressive guidance costs no more than plain guidance.",
        effect="1.02 less the ratio of network evaluations, counted; seconds would be the machine's",
        run=_run,
    )
