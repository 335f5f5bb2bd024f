"""Gradients that are wanted wherever a function is called from: inside ``no_grad``, and inside ``inference_mode`` as well."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., object])


def without_graph(function: Function) -> Function:
    """Return a function that builds no graph of its own, and may build one inside, whatever the caller's mode is.

    ``torch.enable_grad`` alone does not record inside ``torch.inference_mode``.
    """
    wrapped: Function = torch.inference_mode(False)(torch.no_grad()(function))
    return wrapped


def ordinary(tensor: Tensor) -> Tensor:
    """Return a tensor that a graph may hold: one that was made in inference mode is copied."""
    return tensor.clone() if tensor.is_inference() else tensor
