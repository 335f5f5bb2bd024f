"""With an off-the-shelf robust classifier the class energy beats the likelihood."""

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import energy, plain
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    ours, theirs = lab.compare_best(
        energy("robust"), plain(lab, "robust"), ("class energy", "likelihood"), "frechet", tune_on="intra_kid"
    )
    return Effect.less(ours, theirs)


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="class_energy",
        paper="Wang 2024",
        place="section 4.6",
        says="With an off-the-shelf robust classifier, the class energy guides better than the likelihood.",
        effect="Frechet distance of the likelihood less that of the class energy, at their best weights by intra-KID",
        run=_run,
        classifiers=("robust",),
    )
