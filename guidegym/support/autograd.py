"""Gradients that work in every calling context, including ``no_grad`` and ``inference_mode``."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., object])


def without_graph(function: Function) -> Function:
    """Return a function that returns results without a graph and can build one internally, whatever the caller's mode.

    ``torch.enable_grad`` alone does not record inside ``torch.inference_mode``.
    """
    wrapped: Function = torch.inference_mode(False)(torch.no_grad()(function))
    return wrapped


def ordinary(tensor: Tensor) -> Tensor:
    """Return a tensor that can be part of a graph: one created in inference mode is copied."""
    return tensor.clone() if tensor.is_inference() else tensor
