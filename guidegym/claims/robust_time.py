"""Claims on robust time-dependent classifiers (Kawar et al. 2022)."""

import torch

from guidegym.claims.claim import Effect, claimed
from guidegym.claims.families import plain
from guidegym.claims.lab import Lab

PAPER = "Kawar et al. 2022"


@claimed(
    paper=PAPER,
    place="Table 1",
    effect="Frechet distance with the vanilla guide less that with the robust one",
    classifiers=("robust_time", "time_dependent"),
    alike=("robust_time", "time_dependent"),
)
def robust_time_frechet(lab: Lab) -> Effect:
    """A robust time-dependent guide beats a vanilla one, each at its best scale."""
    robust, vanilla = lab.compare_best(
        plain(lab, "robust_time"), plain(lab, "time_dependent"), ("robust", "vanilla"), "frechet"
    )
    return Effect.less(robust, vanilla)


@claimed(
    paper=PAPER,
    place="section 5.2 (ImageNet; on CIFAR-10, Table 5, the two are equal)",
    effect="binary logarithm of the ratio of the best scales by Frechet distance, on a grid of doublings",
    classifiers=("robust_time", "time_dependent"),
    alike=("robust_time", "time_dependent"),
)
def robust_time_scale(lab: Lab) -> Effect:
    """The best scale of the robust guide is larger than that of the vanilla one."""
    # The scale is chosen by the Frechet distance, as in the paper.
    logs = torch.tensor(lab.weights, dtype=torch.float64).log2()
    value, draws = 0.0, torch.zeros(lab.resamples, dtype=torch.float64)
    for sign, name in ((1, "robust_time"), (-1, "time_dependent")):
        found = lab.measured({f"{name}, w={w:g}": plain(lab, name)(w) for w in lab.weights}, ["frechet"]).values()
        # Which weight is best is found anew in each resample: that is what the choice is worth.
        best = int(torch.tensor([one["frechet"].value for one in found]).argmin())
        lab.note_edge(name, lab.weights[best], lab.weights)
        value += sign * float(logs[best])
        draws = draws + sign * logs[torch.stack([one["frechet"].draws for one in found]).argmin(dim=0)]
    return Effect(value, draws, stepped=True)
