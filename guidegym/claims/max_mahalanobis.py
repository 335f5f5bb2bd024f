"""Claims on max-Mahalanobis classifiers (Yang et al. 2021)."""

import torch
from torch import Tensor

from guidegym.claims.claim import Effect, claimed
from guidegym.claims.lab import Lab
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.metric_families import in_rows
from guidegym.metrics.gradients import density_score, of_class
from guidegym.metrics.resampling import resampling_weights

PAPER = "Yang et al. 2021"


CLASSIFIERS = ("jem", "gmmc_generative")
PER_CLASS = 100
STEPS = 200
STEP_SIZE = 1.0
NOISE = 0.01
"""Langevin steps as in training, ten times as many: chains start from noise and not where an earlier batch left them."""


def _chains(lab: Lab, classifier: str, labels: Tensor) -> Tensor:
    """Return Langevin samples of a classifier's density of the wanted class, from uniform noise."""
    testbed = lab.testbed
    generator = torch.Generator(testbed.device).manual_seed(lab.collection.seed)
    shape = (len(labels), *testbed.event_shape)
    x = 2 * torch.rand(shape, generator=generator, device=testbed.device) - 1
    # The density of one class: the others' logits are left out of the sum.
    network, t = of_class(testbed.classifier(classifier), labels), torch.zeros(len(labels), device=testbed.device)
    for _ in range(STEPS):
        noise = torch.randn(shape, generator=generator, device=testbed.device)
        x = x + STEP_SIZE * density_score(network, x, t) + NOISE * noise
    return x.clamp(-1, 1)


@claimed(
    paper=PAPER,
    place="section 4.1, Figure 3",
    effect="accuracy under the judge of the worse of the two",
    above=0.5,
    classifiers=CLASSIFIERS,
)
def energy_models_sample(lab: Lab) -> Effect:
    """Generatively trained classifiers (JEM, GMMC) draw recognisable samples of their classes by Langevin steps."""
    classes = lab.testbed.num_classes
    labels = (torch.arange(PER_CLASS * classes) % classes).to(lab.testbed.device)
    weights = resampling_weights(classes, PER_CLASS, resamples=lab.resamples, seed=0)
    found = []
    for name in CLASSIFIERS:
        x = _chains(lab, name, labels)
        lab.show(f"{name} alone", x, labels)
        hits = lab.testbed.seen(x).hits(labels).cpu()
        found.append(Measurement.mean(hits, in_rows(weights)))
    worse = min(found, key=lambda one: one.value)
    return Effect(worse.value, worse.draws)
