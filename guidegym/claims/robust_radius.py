"""More robust guides hallucinate less."""

import torch

from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.families import energy
from guidegym.reproduction.lab import Lab

RADII = {"robust_r0": 0.0, "robust_r025": 0.25, "robust_r05": 0.5, "robust": 1.0}


def _run(lab: Lab) -> Effect:
    best = lab.best({name: energy(name) for name in RADII})
    found = [one["accuracy"] for one in lab.measured(best, ["accuracy"]).values()]
    radius = torch.tensor(list(RADII.values()), dtype=torch.float64)
    centred = radius - radius.mean()
    slope = centred / centred.square().sum()
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    return Effect(float(slope @ values), slope @ torch.stack([one.draws for one in found]))


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="robust_radius",
        paper="Wang 2024",
        place="section 1.3",
        says="Guides trained with larger adversarial radii hallucinate less.",
        effect="slope of the accuracy under the judge over the training radius, each guide at its best weight",
        run=_run,
        classifiers=tuple(RADII),
        alike=tuple(RADII),
    )
