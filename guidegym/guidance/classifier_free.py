"""Classifier-free guidance, for comparison."""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from guidegym.diffusion import Process, rows_like
from guidegym.errors import GuideGymError
from guidegym.guidance.base_models import ConditionalDenoiser, UnconditionalDenoiser
from guidegym.guidance.guide import Cost, GuideInput, GuideOutput, Networks, check_network_name
from guidegym.guidance.schedules import Schedule
from guidegym.registry import register


@register("guide", "classifier_free")
@dataclass(frozen=True)
class ClassifierFree:
    r"""The gradient of the classifier that a label-conditional denoiser implies.

    .. math:: g = \nabla \log p(c | x_t) = \frac{\epsilon(x_t, \varnothing) - \epsilon(x_t, c)}{\sigma_t}

    On top of ``ConditionalDenoiser``, a weight ``s`` gives
    :math:`(1 + s)\, \epsilon(x_t, c) - s\, \epsilon(x_t, \varnothing)`: 0 is the
    conditional network alone (see ``diffusers_scale``). The target is not used.

    Args:
        network: Name of the model's conditional denoiser; usually the one that is the base model.

    Source:
        Ho and Salimans 2022, eq. 6; Wang 2024, Algorithm 4.
    """

    network: str = "conditional"

    def __post_init__(self) -> None:
        check_network_name(self.network)

    @property
    def classifier(self) -> None:
        """None: there is no classifier."""
        return

    @property
    def through_denoiser(self) -> bool:
        """Whether the given noise must be in a graph that leads to ``x_t``: never."""
        return False

    def check(self, networks: Networks) -> None:
        """Check that the model has the conditional denoiser, and that it can predict without a class."""
        networks.conditional(self.network)
        if not networks.null_class:
            raise GuideGymError(
                f"model '{networks.name}' has no class that stands for none, which classifier-free guidance needs"
            )

    def gradient(self, inputs: GuideInput) -> GuideOutput:
        """Return the gradient at ``x_t``; there are no logits.

        If the base model is the conditional denoiser, its known prediction is reused.
        """
        networks, x_t = inputs.networks, inputs.x_t
        network, known = networks.conditional(self.network), inputs.predicted
        t, any_label = inputs.t, torch.full_like(inputs.label, -1)
        by_default = networks.is_conditional and isinstance(inputs.base_model, UnconditionalDenoiser)
        base = ConditionalDenoiser() if by_default else inputs.base_model
        if known is not None and base == ConditionalDenoiser(self.network):
            conditional, any_class, calls = known, network.predicted(x_t, t, any_label), 1
        else:
            rows = torch.cat([x_t] * 2), torch.cat([t] * 2), torch.cat([inputs.label, any_label])
            both, first = network.predicted(*rows), len(x_t)
            conditional, any_class, calls = both.rows(slice(first)), both.rows(slice(first, None)), 2
        sigma = rows_like(networks.process.sigma(inputs.t, x_t.dtype), x_t)
        clean = None
        if conditional.x_0 is not None and any_class.x_0 is not None:
            clean = (conditional.x_0 - any_class.x_0).detach()
        gradient = (any_class.eps - conditional.eps).detach() / sigma
        return GuideOutput(gradient, None, Cost(denoiser=calls), clean=clean)


def diffusers_scale(weight: float) -> float:
    """Return diffusers' ``guidance_scale`` for a classifier-free weight: no guidance is 0 here and 1 in diffusers."""
    return 1 + weight


def weight_of_diffusers_scale(guidance_scale: float) -> float:
    """Return the classifier-free weight for diffusers' ``guidance_scale``."""
    return guidance_scale - 1


def scales(weight: Schedule, process: Process, t: Shaped[Tensor, " steps"]) -> list[float]:
    """Return diffusers' ``guidance_scale`` by a schedule at times of a process."""
    return [diffusers_scale(one) for one in weight(t, process).tolist()]
