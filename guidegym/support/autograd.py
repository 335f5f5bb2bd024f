"""Gradients that work in every calling context, including ``no_grad`` and ``inference_mode``, and say why if they do not."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from guidegym.errors import GuideGymError

Function = TypeVar("Function", bound=Callable[..., object])

CHECKPOINTING = "it recomputes parts of itself in the backward pass (gradient checkpointing)"
CAUSES = (
    (
        "Tensors does not require grad",
        f"{CHECKPOINTING} and needs gradients of its parameters for it, but some are frozen: call `.requires_grad_(True)` on it",
    ),
    ("use_reentrant", f"{CHECKPOINTING} in a way that allows no gradient of its input: use `use_reentrant=False`"),
    ("does not have a grad_fn", "its output is cut off from its input, as by `no_grad`, `detach` or rounding"),
    (
        "not have been used in the graph",
        "its output does not depend on its input, or is cut off from it, as by `detach`",
    ),
)
"""What PyTorch's errors say when a network has no gradient, and the cause and the remedy."""


def without_graph(function: Function) -> Function:
    """Return a function that returns results without a graph and can build one internally, whatever the caller's mode.

    ``torch.enable_grad`` alone does not record inside ``torch.inference_mode``.
    """
    wrapped: Function = torch.inference_mode(False)(torch.no_grad()(function))
    return wrapped


def ordinary(tensor: Tensor) -> Tensor:
    """Return a tensor that can be part of a graph: one created in inference mode is copied."""
    return tensor.clone() if tensor.is_inference() else tensor


def input_gradient(
    output: Tensor,
    x: Tensor,
    *,
    network: object = "the classifier",
    weight: Tensor | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Tensor:
    """Return the gradient of a network's output with respect to its input; any network of a user may come here.

    Args:
        output: A number, or a tensor if there is a ``weight``.
        x: The input, which requires a gradient.
        network: The network, whose attribute ``what`` is its name in error messages, or the name itself.
        weight: Weights of the output's elements, of its shape.
        create_graph: As in ``torch.autograd.grad``.
        retain_graph: As in ``torch.autograd.grad``.

    Raises:
        GuideGymError: If the network has no gradient, with the cause and the remedy.
    """
    try:
        (gradient,) = torch.autograd.grad(
            output, x, grad_outputs=weight, create_graph=create_graph, retain_graph=retain_graph
        )
    except RuntimeError as error:
        cause = next((cause for said, cause in CAUSES if said in str(error)), None)
        if cause is None:
            raise
        name = network if isinstance(network, str) else getattr(network, "what", "the classifier")
        raise GuideGymError(f"{name} has no gradient: {cause}") from error
    found: Tensor = gradient
    return found
