"""Claims on off-the-shelf robust classifiers whose energy guides (Wang 2024)."""

import torch

from guidegym.claims.claim import Effect, claimed
from guidegym.claims.families import energy, plain, sigmoid
from guidegym.claims.lab import Lab
from guidegym.guidance import Constant, EnergyDivergence, Guidance

PAPER = "Wang 2024"


@claimed(
    paper=PAPER,
    place="section 4.6",
    effect="Frechet distance of the likelihood less that of the class energy, at their best weights by intra-KID",
    classifiers=("robust",),
)
def class_energy(lab: Lab) -> Effect:
    """With an off-the-shelf robust classifier, the class energy guides better than the likelihood."""
    ours, theirs = lab.compare_best(
        energy("robust"), plain(lab, "robust"), ("class energy", "likelihood"), "frechet", tune_on="intra_kid"
    )
    return Effect.less(ours, theirs)


LAMBDA = 0.15
"""Weight of the divergence term in the thesis."""


@claimed(
    paper=PAPER,
    place="section 4.8",
    effect="energy divergence under class-energy guidance less that with the term, at the weight that is best without it",
    classifiers=("robust",),
)
def divergence_term(lab: Lab) -> Effect:
    """The divergence term lowers the energy divergence of the samples."""
    weight = lab.best_weight(energy("robust"), name="class energy")
    methods = {
        f"with the term, w={weight:g}": Guidance(EnergyDivergence("robust", weight=LAMBDA), Constant(weight)),
        f"without, w={weight:g}": energy("robust")(weight),
    }
    ours, theirs = lab.measured(methods, ["energy_divergence"]).values()
    return Effect.less(ours["energy_divergence"], theirs["energy_divergence"])


@claimed(
    paper=PAPER,
    place="section 4.5",
    effect="class-wise kernel distance of the late sigmoid less that of the early one, each at its best scale",
    classifiers=("robust",),
)
def strong_early(lab: Lab) -> Effect:
    """A schedule that is strong at high noise beats its mirror image."""
    early, late = lab.compare_best(
        sigmoid("robust", early=True), sigmoid("robust", early=False), ("early", "late"), "intra_kid"
    )
    return Effect.less(early, late)


RADII = {"robust_r0": 0.0, "robust_r025": 0.25, "robust_r05": 0.5, "robust": 1.0}
"""Adversarial radius in training of each classifier."""


@claimed(
    paper=PAPER,
    place="section 1.3",
    effect="slope of the accuracy under the judge over the training radius, each guide at its best weight",
    classifiers=tuple(RADII),
    alike=tuple(RADII),
)
def robust_radius(lab: Lab) -> Effect:
    """Guides trained with larger adversarial radii hallucinate less."""
    best = lab.best({name: energy(name) for name in RADII})
    found = [one["accuracy"] for one in lab.measured(best, ["accuracy"]).values()]
    radius = torch.tensor(list(RADII.values()), dtype=torch.float64)
    centred = radius - radius.mean()
    slope = centred / centred.square().sum()
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    return Effect(float(slope @ values), slope @ torch.stack([one.draws for one in found]))
