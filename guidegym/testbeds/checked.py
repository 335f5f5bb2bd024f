"""What a testbed's networks are handed, and what they must return: checked once, where every network is asked."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guidegym.errors import GuideGymError

MIXING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
"""Modules that in train mode make a row depend on chance, or on the other rows of its batch."""


def own_dtype(network: object, default: torch.dtype) -> torch.dtype:
    """Return the floating type that a network computes in; ``default`` where it does not say."""
    parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
    return next((one.dtype for one in parameters if one.is_floating_point()), default)


def warn_of_train_mode(network: object, what: str) -> None:
    """Warn of a module whose rows depend on each other, or on chance, as it is."""
    if isinstance(network, nn.Module) and any(m.training and isinstance(m, MIXING) for m in network.modules()):
        warnings.warn(
            f"{what} is in train mode and has dropout or batch normalisation: its rows depend on chance or on each other; "
            "call `.eval()` on it",
            UserWarning,
            stacklevel=3,
        )


class Checked:
    """A network as it is asked: it gets tensors of its own, time in single precision at least, and its answer is checked.

    Copies are handed over, so that a network which changes its input in place changes nothing else. Time does not take the
    samples' type: bfloat16 has no 999. A network of another floating type than the samples' gets them in its own.
    An answer may be an object with a tensor ``sample``, as diffusers' networks return.

    Args:
        network: ``(x, t, ...) -> Tensor``.
        what: What an error calls it.
        num_classes: Number of logits of a classifier; None for a denoiser, whose answer has the shape of ``x``.
    """

    def __init__(self, network: Callable[..., Any], what: str, *, num_classes: int | None = None) -> None:
        self.network, self.what, self.num_classes = network, what, num_classes
        self._first = True

    def __call__(self, x: Float[Tensor, " batch *event"], t: Tensor, *further: Tensor) -> Float[Tensor, " batch ..."]:
        """Ask the network about rows ``x`` at timesteps ``t``.

        Raises:
            GuideGymError: If its answer is no tensor of the right shape.
        """
        if self._first:
            warn_of_train_mode(self.network, self.what)
        wide = torch.promote_types(x.dtype, torch.float32)
        given = x.to(own_dtype(self.network, x.dtype), copy=True)
        answer = self.network(given, t.to(wide, copy=True), *(one.clone() for one in further))
        told = self._tensor_of(answer, x)
        if self._first and self.num_classes is not None:
            _warn_of_probabilities(told, self.what)
        self._first = False
        return told.to(x.dtype if self.num_classes is None else wide)

    def _tensor_of(self, answer: Any, x: Tensor) -> Tensor:
        """Return the answer as a tensor of the right shape."""
        inside = getattr(answer, "sample", None)
        told = inside if isinstance(inside, Tensor) and not isinstance(answer, Tensor) else answer
        if not isinstance(told, Tensor):
            raise GuideGymError(
                f"{self.what} must return a tensor, or an object whose `sample` is one, got {type(answer).__name__}"
            )
        if self.num_classes is None and told.shape != x.shape:
            raise GuideGymError(
                f"{self.what} must return noise of the samples' shape {tuple(x.shape)}, got {tuple(told.shape)}"
            )
        if self.num_classes is not None and told.shape != (len(x), self.num_classes):
            raise GuideGymError(
                f"{self.what} must return logits of shape {(len(x), self.num_classes)}, one per class, got {tuple(told.shape)}"
            )
        return told


def _warn_of_probabilities(logits: Tensor, what: str) -> None:
    """Warn of rows that sum to one: guidance by their softmax would be far weaker than meant, and wrong."""
    rows = logits.detach().double()
    if logits.shape[1] > 1 and bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() < 1e-3).all()):
        warnings.warn(
            f"{what} seems to return probabilities (its rows sum to 1), where logits are expected: return their logarithms",
            UserWarning,
            stacklevel=3,
        )
