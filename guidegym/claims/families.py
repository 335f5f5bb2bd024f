"""The methods that claims compare, each known but for its weight."""

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
"""The update of a step in a chain of 250 that the paper uses first."""

SMOOTHING = 0.6
"""Of the labels that progressive guidance starts from where the classes have no descriptions."""


def plain(lab: Lab, classifier: str = "") -> Family:
    """Return plain guidance by the likelihood, of the testbed's usual guide or of another."""
    guide = Likelihood(classifier or lab.scope.classifier)
    return lambda weight: Guidance(guide, Constant(weight))


def energy(classifier: str) -> Family:
    """Return guidance by the class energy."""
    return lambda weight: Guidance(ClassEnergy(classifier), Constant(weight))


def progressive(lab: Lab, gamma: float = GAMMA) -> Family:
    """Return progressive guidance from the classes' descriptions where the testbed has them, else from smoothed labels."""
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
    """Return classifier-free guidance by a conditional denoiser."""
    score = ConditionalDenoiser(network)
    return lambda weight: Guidance(ClassifierFree(network), Constant(weight), base_model=score)


def sigmoid(classifier: str, *, early: bool) -> Family:
    """Return class-energy guidance under a sigmoid about the middle of the chain: strong at high noise, or its mirror."""
    steepness = 0.02 if early else -0.02
    return lambda weight: Guidance(ClassEnergy(classifier), Sigmoid(weight, 0.05, 500.0, steepness))
