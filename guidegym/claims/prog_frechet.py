"""Progressive guidance lowers the Frechet distance at equal cost."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain, progressive
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    ours, theirs = lab.compare_best(progressive(lab), plain(lab), ("progressive", "plain"), "frechet")
    return Effect.less(ours, theirs)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="prog_frechet",
        paper="Dinh et al. 2023",
        place="Table 1",
        says="Progressive guidance lowers the Frechet distance of plain guidance at equal cost.",
        effect="Frechet distance of plain guidance less that of progressive guidance, each at its best weight",
        run=_run,
    )
