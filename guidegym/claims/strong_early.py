"""Guidance that is strong at high noise beats guidance that is strong at low noise."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import sigmoid
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    early, late = lab.compare_best(
        sigmoid("robust", early=True), sigmoid("robust", early=False), ("early", "late"), "intra_kid"
    )
    return Effect.less(early, late)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="strong_early",
        paper="Wang 2024",
        place="section 4.5",
        says="A schedule that is strong at high noise beats its mirror image.",
        effect="class-wise kernel distance of the late sigmoid less that of the early one, each at its best scale",
        run=_run,
        classifiers=("robust",),
    )
