"""Guides: gradient fields that classifiers add to the score."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from guidegym.errors import GuideGymError
from guidegym.guidance.guide import GuideInput, GuideOutput, Networks, check_classifier_name, gradient_of
from guidegym.registry import contract, register
from guidegym.support.settings import plain_fields


@contract("guide")
@runtime_checkable
class Guide(Protocol):
    """A gradient field over a batch of noisy rows."""

    @property
    def classifier(self) -> str | None:
        """Name of the model's classifier that is used; None for a guide without one."""
        ...

    @property
    def through_denoiser(self) -> bool:
        """Whether the given noise must be in a graph that leads to ``x_t``."""
        ...

    def check(self, networks: Networks) -> None:
        """Check that the model has what the guide needs.

        Raises:
            GuideGymError: If it lacks something.
        """
        ...

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t`` for each row's target, in 1 / (unit of ``x``), with logits and cost."""
        ...


@dataclass(frozen=True)
class ClassifierGuide(ABC):
    """Base class of guides that differentiate one classifier at ``x_t``.

    Args:
        classifier: Name of the model's classifier.
    """

    classifier: str

    def __post_init__(self) -> None:
        check_classifier_name(self.classifier)

    @property
    def through_denoiser(self) -> bool:
        """Whether the given noise must be in a graph that leads to ``x_t``: never."""
        return False

    def check(self, networks: Networks) -> None:
        """Check that the model has the classifier."""
        networks.classifier(self.classifier)

    @abstractmethod
    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""


@register("guide", "likelihood")
@dataclass(frozen=True)
class Likelihood(ClassifierGuide):
    r"""The gradient of the log-likelihood of the wanted classes.

    .. math:: g = \nabla_{x_t} \sum_i s_i \log p(y_i | x_t), \quad \log p(y | x) = f(x)_y - \log \sum_j e^{f(x)_j}

    For a target ``s`` that is not one-hot it is progressive guidance, :math:`-\nabla KL(s \| p(y | x_t))`.

    Args:
        classifier: Name of the model's classifier.

    Source:
        Dhariwal and Nichol 2021, Algorithm 2; Dinh et al. 2023, eq. 4 and 6.
    """

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        classify = inputs.networks.classifier(self.classifier)
        return gradient_of(lambda logits: inputs.target * logits.log_softmax(dim=1), classify, inputs.x_t, inputs.t)


@register("guide", "class_energy")
@dataclass(frozen=True)
class ClassEnergy(ClassifierGuide):
    r"""The gradient of the wanted classes' logits: a classifier read as an energy-based model.

    .. math:: g = -\nabla_{x_t} \sum_i s_i E(x_t, y_i), \quad E(x, y) = -f(x)_y

    Unlike the likelihood, it does not vanish where the classifier is certain.

    Args:
        classifier: Name of the model's classifier.

    Source:
        Wang 2024, section 4.6 and eq. 2.36-2.38.
    """

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        classify = inputs.networks.classifier(self.classifier)
        return gradient_of(lambda logits: inputs.target * logits, classify, inputs.x_t, inputs.t)


@register("guide", "joint_energy")
@dataclass(frozen=True)
class JointEnergy(ClassifierGuide):
    r"""The interpolation between likelihood and class energy.

    .. math:: g = \nabla_{x_t} \Big( \sum_i s_i f(x_t)_i - m \log \sum_j e^{f(x_t)_j} \Big)

    The second term is the classifier's own density, :math:`\log p(x_t)` up to a constant, which the likelihood leaves to the
    denoiser and the class energy takes from the classifier.

    Args:
        classifier: Name of the model's classifier.
        marginal: The weight ``m`` of the subtracted density, in [0, 1]: 1 is the likelihood, 0 the class energy.

    Source:
        Wang 2024, section 4.6, generalised.
    """

    marginal: float = 0.5

    def __post_init__(self) -> None:
        plain_fields(self)
        super().__post_init__()
        if not 0 <= self.marginal <= 1:
            raise GuideGymError(f"`marginal` must be in [0, 1], got {self.marginal}")

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        classify = inputs.networks.classifier(self.classifier)
        return gradient_of(
            lambda logits: (inputs.target * logits).sum(dim=1) - self.marginal * logits.logsumexp(dim=1),
            classify,
            inputs.x_t,
            inputs.t,
        )


@register("guide", "energy_divergence")
@dataclass(frozen=True)
class EnergyDivergence(ClassifierGuide):
    r"""Class energy, with the classifier's energy kept close to its value on real data.

    .. math:: g = -\nabla_{x_t} \sum_i s_i \big( E(x_t, y_i) + \lambda\, |E^*_i - E(x_t)| \big),
        \quad E(x) = -\log \sum_y e^{f(x)_y}

    At the kink, where :math:`E(x_t) = E^*_i`, the second term has no gradient.

    Args:
        classifier: Name of the model's classifier; the model must know its class energies :math:`E^*`.
        weight: The weight :math:`\lambda` >= 0 of the divergence; 0 is the class energy.

    Source:
        Wang 2024, eq. 4.5 and 4.6; :math:`E^*_i` is the mean over the training images of class ``i``.
    """

    weight: float = 0.15

    def __post_init__(self) -> None:
        plain_fields(self)
        super().__post_init__()
        if not 0 <= self.weight < float("inf"):
            raise GuideGymError(f"`weight` must be >= 0 and finite, got {self.weight}")

    def check(self, networks: Networks) -> None:
        """Check that the model has the classifier and knows its class energies."""
        super().check(networks)
        if self.classifier not in networks.class_energies:
            known = ", ".join(networks.class_energies) or "none"
            raise GuideGymError(
                f"model '{networks.name}' does not know the class energies of '{self.classifier}'; known: {known}"
            )

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), and the logits."""
        classify = inputs.networks.classifier(self.classifier)
        wanted = inputs.networks.class_energies[self.classifier].to(inputs.x_t)
        return gradient_of(
            lambda logits: (
                inputs.target * (logits - self.weight * (wanted + logits.logsumexp(dim=1, keepdim=True)).abs())
            ),
            classify,
            inputs.x_t,
            inputs.t,
        )
