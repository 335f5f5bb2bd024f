"""Base models: the noise predictions that guidance is added to."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from guidegym.diffusion import Predicted, rows_like
from guidegym.guidance.guide import GRADIENT, Cost, Networks, check_classifier_name, check_network_name
from guidegym.registry import register
from guidegym.support.autograd import input_gradient
from guidegym.support.settings import plain_fields


@register("base_model", "denoiser")
@dataclass(frozen=True)
class UnconditionalDenoiser:
    """The model's unconditional denoiser, the usual base of classifier guidance; its conditional one if that is all it has."""

    def check(self, networks: Networks) -> None:
        """Check that the model has a denoiser."""
        if networks.is_conditional:
            networks.conditional("conditional")

    def predict(
        self,
        networks: Networks,
        x_t: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        label: Int[Tensor, " batch"],
    ) -> tuple[Predicted, Cost]:
        """Return the prediction and its cost per row."""
        if networks.is_conditional:
            return ConditionalDenoiser().predict(networks, x_t, t, label)
        return networks.unconditional().predicted(x_t, t), Cost(denoiser=1)


@register("base_model", "conditional")
@dataclass(frozen=True)
class ConditionalDenoiser:
    """A label-conditional denoiser given the wanted class: for ``ClassifierFree``, or with a classifier on top.

    Args:
        network: Name of the model's conditional denoiser.
    """

    network: str = "conditional"

    def __post_init__(self) -> None:
        check_network_name(self.network)

    def check(self, networks: Networks) -> None:
        """Check that the model has the network."""
        networks.conditional(self.network)

    def predict(
        self,
        networks: Networks,
        x_t: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        label: Int[Tensor, " batch"],
    ) -> tuple[Predicted, Cost]:
        """Return the prediction and its cost per row."""
        return networks.conditional(self.network).predicted(x_t, t, label), Cost(denoiser=1)


@register("base_model", "classifier")
@dataclass(frozen=True)
class ClassifierScore:
    r"""A time-dependent classifier's own score: no denoiser at all.

    .. math:: \epsilon = -\sigma_t \nabla \log \sum_y e^{f(x_t)_y} \quad\text{or}\quad \epsilon = -\sigma_t \nabla f(x_t)_c

    The first is the score of the classifier's density, the second that of its density of the wanted class.

    Args:
        classifier: Name of the model's classifier, which must be calibrated for either score to be meaningful.
        conditional: Whether to use the score of the wanted class.

    Source:
        CG-SC, eq. 7 and 10.
    """

    classifier: str
    conditional: bool = False

    def __post_init__(self) -> None:
        plain_fields(self)
        check_classifier_name(self.classifier)

    def check(self, networks: Networks) -> None:
        """Check that the model has the classifier."""
        networks.classifier(self.classifier)

    def predict(
        self,
        networks: Networks,
        x_t: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        label: Int[Tensor, " batch"],
    ) -> tuple[Predicted, Cost]:
        """Return the prediction and its cost per row."""
        graph = torch.is_grad_enabled() and x_t.requires_grad
        with torch.enable_grad():
            leaf = x_t if graph else x_t.detach().requires_grad_(True)
            classify = networks.classifier(self.classifier)
            logits = classify(leaf, t)
            density = logits.gather(1, label[:, None])[:, 0] if self.conditional else logits.logsumexp(dim=1)
            base_model = input_gradient(density.sum(), leaf, network=classify, create_graph=graph)
        return Predicted(-rows_like(networks.process.sigma(t, x_t.dtype), x_t) * base_model), GRADIENT
