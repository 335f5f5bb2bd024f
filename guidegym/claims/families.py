"""The methods that claims compare, as functions of their weight."""

from guidegym.claims.lab import Family, Lab
from guidegym.guidance import (
    ClassEnergy,
    ClassifierFree,
    ConditionalDenoiser,
    Constant,
    Guidance,
    LabelSmoothing,
    Likelihood,
    Sigmoid,
    Similarity,
    TargetDistribution,
    rate_of_gamma,
)

GAMMA = 0.04
"""The paper's first setting: the update per step in a chain of 250 steps."""

SMOOTHING = 0.6
"""Smoothing of the initial labels for progressive guidance if the classes have no descriptions."""


def plain(lab: Lab, classifier: str = "") -> Family:
    """Return plain likelihood guidance with the testbed's default classifier or the given one."""
    guide = Likelihood(classifier or lab.scope.classifier)
    return lambda weight: Guidance(guide, Constant(weight))


def energy(classifier: str) -> Family:
    """Return class-energy guidance."""
    return lambda weight: Guidance(ClassEnergy(classifier), Constant(weight))


def progressive(lab: Lab, gamma: float = GAMMA) -> Family:
    """Return progressive guidance that starts from the classes' descriptions if available, else from smoothed labels."""
    similarity = lab.scope.similarity
    target: TargetDistribution = LabelSmoothing(SMOOTHING)
    if similarity is not None and similarity in lab.testbed.similarities:
        target = Similarity(similarity)
    else:
        lab.notes["degree"] = (
            f"{lab.testbed.name} has no similarities of classes: degrees start from labels smoothed by {SMOOTHING:g}"
        )
    guide, rate = Likelihood(lab.scope.classifier), Constant(rate_of_gamma(gamma))
    return lambda weight: Guidance(guide, Constant(weight), rate=rate, target=target)


def classifier_free(network: str) -> Family:
    """Return classifier-free guidance with a conditional denoiser."""
    score = ConditionalDenoiser(network)
    return lambda weight: Guidance(ClassifierFree(network), Constant(weight), base_model=score)


def sigmoid(classifier: str, *, early: bool) -> Family:
    """Return class-energy guidance under a sigmoid centred in the chain: strong at high noise, or its mirror image."""
    steepness = 0.02 if early else -0.02
    return lambda weight: Guidance(ClassEnergy(classifier), Sigmoid(weight, 0.05, 500.0, steepness))
