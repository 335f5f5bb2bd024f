"""Claims on max-Mahalanobis classifiers (Yang et al. 2021)."""

from dataclasses import replace

import torch
from torch import Tensor

from guidegym.claims.claim import Effect, claimed
from guidegym.claims.lab import Lab
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.metric_families import in_rows
from guidegym.metrics.gradients import density_score, of_class
from guidegym.metrics.resampling import resampling_weights
from guidegym.networks import MaxMahalanobisClassifier
from guidegym.training import energy_based, mixtures

PAPER = "Yang et al. 2021"
PER_CLASS = 100
STEPS = 200
"""Ten times as many Langevin steps as in an update of the training: chains start from noise and not where another stood."""
CHAINS = {"jem": energy_based.CHAINS, "gmmc_generative": mixtures.CHAINS}
"""The steps that each classifier was trained with."""


def _chains(lab: Lab, classifier: str, labels: Tensor) -> Tensor:
    """Return Langevin samples of a classifier's density of the wanted class, from uniform noise."""
    testbed = lab.testbed
    generator = torch.Generator(testbed.device).manual_seed(lab.collection.seed)
    x = 2 * torch.rand((len(labels), *testbed.event_shape), generator=generator, device=testbed.device) - 1
    # The density of one class: the others' logits are left out of the sum.
    network, t = of_class(testbed.classifier(classifier), labels), torch.zeros(len(labels), device=testbed.device)
    trained = testbed.classifiers[classifier]
    # The energy of a mixture is divided by a variance that was 1 in training.
    unit = float(trained.variance.sqrt()) if isinstance(trained, MaxMahalanobisClassifier) else 1.0
    steps = replace(CHAINS[classifier], num_steps=STEPS)
    return steps(x, lambda here: density_score(network, here, t), generator, unit=unit)


@claimed(
    paper=PAPER,
    place="section 4.1, Figure 3",
    effect="accuracy under the judge of the worse of the two",
    above=0.5,
    classifiers=tuple(CHAINS),
)
def energy_models_sample(lab: Lab) -> Effect:
    """Generatively trained classifiers (JEM, GMMC) draw recognisable samples of their classes by Langevin steps."""
    classes = lab.testbed.num_classes
    per_class = min(PER_CLASS, lab.collection.per_class)
    labels = (torch.arange(per_class * classes) % classes).to(lab.testbed.device)
    weights = resampling_weights(classes, per_class, resamples=lab.resamples, seed=0)
    found = []
    for name in CHAINS:
        x = _chains(lab, name, labels)
        lab.show(f"{name} alone", x, labels)
        hits = lab.testbed.seen(x).hits(labels).cpu()
        found.append(Measurement.mean(hits, in_rows(weights)))
    worse = min(found, key=lambda one: one.value)
    return Effect(worse.value, worse.draws)
