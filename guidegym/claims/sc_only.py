"""A self-calibrated classifier samples without a denoiser; a cross-entropy one does not."""

import torch

from guidegym.diffusion import DDIM
from guidegym.guidance import ClassifierScore, Guidance
from guidegym.reproduction.claim import Claim, Effect
from guidegym.reproduction.lab import Lab


def _run(lab: Lab) -> Effect:
    methods = {
        name: Guidance(base_model=ClassifierScore(classifier, conditional=True))
        for name, classifier in (("self-calibrated alone", "self_calibrated"), ("CE alone", "time_dependent"))
    }
    ours, theirs = lab.measured(methods, ["accuracy"], sampler=DDIM(50, eta=1.0)).values()
    works, fails = ours["accuracy"], theirs["accuracy"]
    return Effect(min(works.value - 0.5, 0.5 - fails.value), torch.minimum(works.draws - 0.5, 0.5 - fails.draws))


def claim() -> Claim:
    """Return the claim."""
    return Claim(
        name="sc_only",
        paper="CG-SC",
        place="section 5.1, eq. 10",
        says="A self-calibrated classifier samples its classes by its own score; a cross-entropy classifier does not.",
        effect="the smaller of what self-calibration alone is above 50 % accuracy under the judge and cross-entropy alone below",
        run=_run,
        classifiers=("self_calibrated", "time_dependent"),
        calibrated=("self_calibrated",),
    )
