"""The scale matters little for the Frechet distance and much for the class-wise one."""

import torch

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import plain
from guidegym.reproduction.lab import Lab

SCALES = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5)
"""The paper's."""


def _run(lab: Lab) -> Effect:
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


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="scale_intra",
        paper="CG-SC",
        place="Figure 7, the curves without self-calibration",
        says="Scaling the guidance matters little for the Frechet distance and much for its class-wise mean.",
        effect="log of largest over smallest intra-Frechet distance over the paper's scales, less that of the Frechet distance",
        run=_run,
    )
