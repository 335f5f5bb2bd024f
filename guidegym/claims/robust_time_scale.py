"""The best scale of a robust time-dependent guide is larger."""

import torch

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
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


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="robust_time_scale",
        paper="Kawar et al. 2022",
        place="section 5.2 (ImageNet; on CIFAR-10, Table 5, the two are equal)",
        says="The best scale of the robust guide is larger than that of the vanilla one.",
        effect="binary logarithm of the ratio of the best scales by Frechet distance, on a grid of doublings",
        run=_run,
        classifiers=("robust_time", "time_dependent"),
        alike=("robust_time", "time_dependent"),
    )
