"""Guides that wrap another guide: look-ahead, the clean estimate, scaling and memory. They compose."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import clean_estimate, rows_like
from guidegym.errors import GuideGymError
from guidegym.guidance.guide import Cost, GuideInput, GuideOutput, Networks, unguided
from guidegym.guidance.guides import Guide
from guidegym.registry import register
from guidegym.support.autograd import input_gradient
from guidegym.support.settings import check_range, plain_fields, whole_number

MAX_STEPS = 1000
"""Bound on the gradients per step of a chain: ten times as many as in the source."""


def unit(gradient: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch *event"]:
    """Return each row's gradient scaled to length 1; zero gradients are kept."""
    # Squares of small numbers underflow in single precision: divide by the largest first.
    largest = rows_like(gradient.flatten(1).abs().amax(dim=1), gradient)
    scaled = gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
    norm = torch.linalg.vector_norm(scaled.flatten(1), dim=1)
    return scaled / rows_like(norm, gradient).clamp_min(torch.finfo(gradient.dtype).tiny)


@dataclass(frozen=True)
class Wrapper(ABC):
    """Base class of guides that wrap another guide.

    Args:
        guide: The wrapped guide.
    """

    guide: Guide

    def __post_init__(self) -> None:
        plain_fields(self)
        if not isinstance(self.guide, Guide):
            raise GuideGymError(f"`guide` must be a guide, got {self.guide!r}")

    @property
    def classifier(self) -> str | None:
        """Name of the model's classifier that the wrapped guide uses."""
        return self.guide.classifier

    @property
    def through_denoiser(self) -> bool:
        """Whether the wrapped guide needs the noise in a graph."""
        return self.guide.through_denoiser

    def check(self, networks: Networks) -> None:
        """Check that the model has what the wrapped guide needs."""
        self.guide.check(networks)

    @abstractmethod
    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, in 1 / (unit of ``x``), with logits and cost."""


@register("wrapper", "look_ahead")
@dataclass(frozen=True)
class LookAhead(Wrapper):
    r"""The guide's gradient a few steps uphill, applied at the current sample.

    .. math:: x_{i+1} = x_i + \gamma\, g(x_i) / \|g(x_i)\|_2, \quad i = 0 .. n - 1, \quad x_0 = x_t, \qquad g = g(x_n)

    Args:
        guide: The wrapped guide; the source's is the class energy.
        num_steps: Number ``n`` of steps, in 1 .. 1000; each costs one more gradient.
        size: Length :math:`\gamma` of a step in units of ``x``, >= 0.

    Source:
        Wang 2024, section 4.9 (its Algorithm 8 has a factor ``1 + size`` on ``x`` and a logarithm of the energy, both at odds
        with its text); ``num_steps`` = 100 and ``size`` = 0.01 were used.
    """

    num_steps: int = 10
    size: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps(self.num_steps, self.size)

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at the last image, and the logits at ``x_t``."""
        way = list(_uphill(self.guide, inputs, self.num_steps + 1, self.size))
        cost = sum((guided.cost for guided in way), Cost())
        return GuideOutput(way[-1].gradient, way[0].logits, cost, way[-1].memory)


@register("wrapper", "accumulated")
@dataclass(frozen=True)
class Accumulated(Wrapper):
    r"""The sum of the guide's gradients at successive intermediate images.

    .. math:: g = \sum_{i=0}^{n-1} g(x_i), \quad x_{i+1} = x_i + \gamma\, g(x_i) / \|g(x_i)\|_2, \quad x_0 = x_t

    Args:
        guide: The wrapped guide.
        num_steps: Number ``n`` of gradients, in 1 .. 1000; 1 is the guide itself.
        size: Length :math:`\gamma` of a step between the images in units of ``x``, >= 0; the source does not give it.

    Source:
        Wang 2024, section 4.3.
    """

    num_steps: int = 5
    size: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps(self.num_steps, self.size)

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the sum of the gradients, and the logits at ``x_t``."""
        way = list(_uphill(self.guide, inputs, self.num_steps, self.size))
        cost = sum((guided.cost for guided in way), Cost())
        total = sum((guided.gradient for guided in way[1:]), way[0].gradient)
        return GuideOutput(total, way[0].logits, cost, way[-1].memory)


@register("wrapper", "at_clean")
@dataclass(frozen=True)
class AtClean(Wrapper):
    r"""The guide's gradient at the clean estimate, for classifiers trained on clean images only.

    .. math:: \hat x_0 = \frac{x_t - \sigma_t \epsilon_\theta(x_t)}{\sqrt{\bar\alpha_t}}, \qquad
        g = J^\top g_0(\hat x_0), \quad J = \partial \hat x_0 / \partial x_t

    The wrapped guide is evaluated at :math:`\hat x_0` and timestep 0.

    Args:
        guide: The wrapped guide.
        jacobian: Whether ``J`` is computed, which costs a backward evaluation of the denoiser; otherwise it is approximated by
            the identity.

    Source:
        Bansal et al. 2023, eq. 6, for the gradient through the denoiser.
    """

    jacobian: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()

    @property
    def through_denoiser(self) -> bool:
        """Whether the given noise must be in a graph that leads to ``x_t``: if the Jacobian is computed."""
        return self.jacobian

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``, and the logits at the clean estimate."""
        networks, cost = inputs.networks, Cost()
        x_t, predicted = inputs.x_t, inputs.predicted
        with torch.set_grad_enabled(self.jacobian):
            if predicted is None or (self.jacobian and not predicted.eps.requires_grad):
                x_t = x_t.detach().requires_grad_(self.jacobian)
                predicted, cost = unguided(inputs.base_model, networks, x_t, inputs.t, inputs.label)
            x_0 = clean_estimate(x_t, predicted, t=inputs.t, process=networks.process, clip=networks.clip)
        inner = self.guide.gradient(replace(inputs, x_t=x_0.detach(), t=torch.zeros_like(inputs.t), predicted=None))
        gradient = inner.gradient
        if self.jacobian:
            gradient = input_gradient(x_0, x_t, network="the denoiser", weight=inner.gradient)
            cost = cost + Cost(denoiser_backward=1)
        return GuideOutput(gradient, inner.logits, inner.cost + cost, inner.memory)


@register("wrapper", "entropy_scaled")
@dataclass(frozen=True)
class EntropyScaled(Wrapper):
    r"""The guide's gradient, stronger where the classifier is more certain: entropy-driven sampling.

    .. math:: g \min\left( \frac{\log K}{H(p(y | x_t))},\; \text{most} \right)

    The bound keeps it finite as the entropy goes to 0.

    Args:
        guide: The wrapped guide, with a classifier.
        most: The largest factor, >= 1; the factor is 1 where the classifier's posterior is uniform.

    Source:
        Dinh et al. 2023, section 6.2; Zheng et al. 2022, whose published code has no bound.
    """

    most: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.most < float("inf"):
            raise GuideGymError(f"`most` must be >= 1 and finite, got {self.most}")
        if self.guide.classifier is None:
            raise GuideGymError("`guide` must have a classifier, whose entropy scales the gradient")

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the scaled gradient, and the logits."""
        guided = self.guide.gradient(inputs)
        assert guided.logits is not None
        log_p = guided.logits.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum(dim=1)
        largest = torch.tensor(float(log_p.shape[1]), dtype=log_p.dtype).log().item()
        factor = largest / entropy.clamp_min(largest / self.most)
        scale = rows_like(factor.to(guided.gradient), guided.gradient)
        return guided._replace(gradient=scale * guided.gradient, clean=None)


@register("wrapper", "normalised")
@dataclass(frozen=True)
class Normalised(Wrapper):
    r"""The guide's gradient rescaled to the length of the noise: the weight is then in units of the noise.

    .. math:: \frac{g}{\|g\|_2} \cdot \frac{\sqrt{d}}{\sigma_t}

    Then :math:`\sigma_t w g`, which is subtracted from the predicted noise, has root mean square ``w`` over the ``d``
    dimensions of a sample, at every step.

    Args:
        guide: The wrapped guide.
    """

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the rescaled gradient, and the logits."""
        guided = self.guide.gradient(inputs)
        size = inputs.x_t[0].numel() ** 0.5 / inputs.networks.process.sigma(inputs.t, inputs.x_t.dtype)
        return guided._replace(gradient=unit(guided.gradient) * rows_like(size, guided.gradient), clean=None)


@register("wrapper", "momentum")
@dataclass(frozen=True)
class Momentum(Wrapper):
    r"""The running mean of the guide's gradients over the steps of a trajectory.

    .. math:: v \leftarrow \mu v + (1 - \mu)\, g, \quad v = 0 \text{ at first}, \qquad g = v

    Steps of weight 0, which do not evaluate the guide, leave ``v`` unchanged.

    Args:
        guide: The wrapped guide, without momentum of its own.
        decay: The share :math:`\mu` of ``v`` that is kept, in [0, 1); 0 is the guide itself.
    """

    decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay < 1:
            raise GuideGymError(f"`decay` must be in [0, 1), got {self.decay}")
        inside: Guide = self.guide
        while isinstance(inside, Wrapper):
            if isinstance(inside, Momentum):
                raise GuideGymError("a guide has one memory: `guide` must not contain another Momentum")
            inside = inside.guide

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the mean so far, and the logits."""
        guided = self.guide.gradient(inputs)
        before = torch.zeros_like(guided.gradient) if inputs.memory is None else inputs.memory
        mean = torch.lerp(guided.gradient, before, self.decay)
        return guided._replace(gradient=mean, memory=mean, clean=None)


def _uphill(guide: Guide, inputs: GuideInput, num: int, size: float) -> Iterator[GuideOutput]:
    """Evaluate a guide ``num`` times, each a normalised step of length ``size`` further along its own gradient."""
    x = inputs.x_t
    for number in range(num):
        guided = guide.gradient(inputs if number == 0 else replace(inputs, x_t=x.detach(), predicted=None))
        yield guided
        x = x + size * unit(guided.gradient)


def _check_steps(num_steps: object, size: float) -> None:
    whole_number("num_steps", num_steps, least=1, most=MAX_STEPS)
    check_range("size", size, least=0)
