"""Claims on self-calibrated classifiers (classifier guidance with self-calibration, CG-SC)."""

import torch

from guidegym.claims.claim import Claim, Effect, claimed
from guidegym.claims.families import classifier_free, plain
from guidegym.claims.lab import Lab
from guidegym.diffusion import DDIM
from guidegym.guidance import ClassifierScore, Guidance

PAPER = "CG-SC"


@claimed(
    paper=PAPER,
    place="section 5.1, eq. 10",
    effect="the smaller of what self-calibration alone is above 50 % accuracy under the judge and cross-entropy alone below",
    classifiers=("self_calibrated", "time_dependent"),
    calibrated=("self_calibrated",),
)
def sc_only(lab: Lab) -> Effect:
    """A self-calibrated classifier samples its classes by its own score; a cross-entropy classifier does not."""
    methods = {
        name: Guidance(base_model=ClassifierScore(classifier, conditional=True))
        for name, classifier in (("self-calibrated alone", "self_calibrated"), ("CE alone", "time_dependent"))
    }
    ours, theirs = lab.measured(methods, ["accuracy"], sampler=DDIM(50, eta=1.0)).values()
    works, fails = ours["accuracy"], theirs["accuracy"]
    return Effect(min(works.value - 0.5, 0.5 - fails.value), torch.minimum(works.draws - 0.5, 0.5 - fails.draws))


SCALES = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5)
"""The scales of the paper's figure."""


@claimed(
    paper=PAPER,
    place="Figure 7, the curves without self-calibration",
    effect="log of largest over smallest intra-Frechet distance over the paper's scales, less that of the Frechet distance",
)
def scale_intra(lab: Lab) -> Effect:
    """Scaling the guidance matters little for the Frechet distance and much for its class-wise mean."""
    names = ("intra_frechet", "frechet")
    found = list(lab.measured({f"w={w:g}": plain(lab)(w) for w in SCALES}, names).values())
    values, draws = [], []
    for name in names:
        drawn = torch.stack([one[name].draws for one in found])
        # Resamples are biased alike at all scales: the bias would hide in the ratio, and is taken out first.
        centred = drawn - drawn.mean(dim=1, keepdim=True) + torch.tensor([[one[name].value] for one in found])
        logs = centred.clamp_min(1e-9).log()
        draws.append(logs.amax(dim=0) - logs.amin(dim=0))
        own = torch.tensor([one[name].value for one in found], dtype=torch.float64).log()
        values.append(float(own.max() - own.min()))
    return Effect(values[0] - values[1], draws[0] - draws[1])


FREE_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Weights that classifier-free guidance is tuned over."""


@claimed(
    paper=PAPER,
    place="Figure 4 (c)",
    effect="intra-coverage of classifier guidance less that of classifier-free guidance, each at its best weight",
    classifiers=("time_dependent-5",),
    conditionals=("conditional-5",),
)
def classifier_free_coverage(lab: Lab) -> Effect:
    """With 5 % of the labels classifier-free guidance trained on them collapses in coverage."""
    guided = lab.best({"CE": plain(lab, "time_dependent-5")}, metric="intra_kid")
    free = lab.best({"classifier-free": classifier_free("conditional-5")}, metric="intra_kid", weights=FREE_WEIGHTS)
    theirs, ours = lab.measured({**free, **guided}, ["intra_coverage"]).values()
    return Effect.more(ours["intra_coverage"], theirs["intra_coverage"])


def _labels(percent: int) -> Claim:
    """Return the claim for a share of the labels."""
    calibrated, vanilla = f"self_calibrated_all-{percent}", f"time_dependent-{percent}"

    @claimed(
        f"sc_labels_{percent}",
        paper=PAPER,
        place="Table 2",
        says=f"With {percent} % of the labels, a classifier self-calibrated on all data guides better than cross-entropy's.",
        effect="intra-Frechet distance with the cross-entropy guide less that with the self-calibrated; weights by intra-KID",
        classifiers=(calibrated, vanilla),
        calibrated=(calibrated,),
        alike=(calibrated, vanilla),
    )
    def claim(lab: Lab) -> Effect:
        ours, theirs = lab.compare_best(
            plain(lab, calibrated), plain(lab, vanilla), ("self-calibrated", "CE"), "intra_frechet", tune_on="intra_kid"
        )
        return Effect.less(ours, theirs)

    return claim


sc_labels_5, sc_labels_20 = _labels(5), _labels(20)
