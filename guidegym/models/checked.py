"""Inputs and outputs of a testbed's networks, checked in the one place where every network is called."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guidegym.diffusion import Predicted, Process, read_prediction, rows_like
from guidegym.errors import GuideGymError

MIXING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
"""Modules that in train mode make a row's output random or dependent on the other rows of its batch."""


def own_dtype(network: object, default: torch.dtype) -> torch.dtype:
    """Return the floating type that a network computes in; ``default`` if unknown."""
    parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
    return next((one.dtype for one in parameters if one.is_floating_point()), default)


def warn_of_train_mode(network: object, what: str) -> None:
    """Warn of a module whose rows, in its present mode, are random or depend on each other."""
    if isinstance(network, nn.Module) and any(m.training and isinstance(m, MIXING) for m in network.modules()):
        warnings.warn(
            f"{what} is in train mode and has dropout or batch normalisation: its rows are random or depend on each other; "
            "call `.eval()` on it",
            UserWarning,
            stacklevel=3,
        )


class Checked:
    """A network with checked calls: it gets copies of its inputs, time in at least single precision, and its output is checked.

    Copies protect against networks that change their input in place. Time is not cast to the samples' type: bfloat16 cannot
    represent 999. A network of another floating type than the samples' gets them in its own type. The output may be an object
    with a tensor ``sample``, as diffusers' networks return.

    Args:
        network: ``(x, t, ...) -> Tensor``.
        what: Name of the network in error messages.
        num_classes: Number of logits of a classifier; None for a denoiser, whose output has the shape of ``x``.
        doubled: Whether a denoiser's output has twice the channels of ``x``.
    """

    def __init__(
        self, network: Callable[..., Any], what: str, *, num_classes: int | None = None, doubled: bool = False
    ) -> None:
        self.network, self.what, self.num_classes, self.doubled = network, what, num_classes, doubled
        self._first = True

    def __call__(self, x: Float[Tensor, " batch *event"], t: Tensor, *further: Tensor) -> Float[Tensor, " batch ..."]:
        """Evaluate the network on rows ``x`` at timesteps ``t``.

        Raises:
            GuideGymError: If its output is not a tensor of the right shape.
        """
        if self._first:
            warn_of_train_mode(self.network, self.what)
        wide = torch.promote_types(x.dtype, torch.float32)
        given = x.to(own_dtype(self.network, x.dtype), copy=True)
        answer = self.network(given, t.to(wide, copy=True), *(one.clone() for one in further))
        told = self._tensor_of(answer, x)
        if self._first and self.num_classes is not None:
            warn_of_probabilities(told, self.what)
        self._first = False
        return told.to(x.dtype if self.num_classes is None else wide)

    def _tensor_of(self, answer: Any, x: Tensor) -> Tensor:
        """Return the output as a tensor of the right shape."""
        inside = getattr(answer, "sample", None)
        told = inside if isinstance(inside, Tensor) and not isinstance(answer, Tensor) else answer
        if not isinstance(told, Tensor):
            raise GuideGymError(
                f"{self.what} must return a tensor, or an object whose `sample` is one, got {type(answer).__name__}"
            )
        wanted = (len(x), (1 + self.doubled) * x.shape[1], *x.shape[2:])
        if self.num_classes is None and told.shape != wanted:
            shape = (
                f"shape {wanted}, with a variance for each channel" if self.doubled else f"the samples' shape {wanted}"
            )
            raise GuideGymError(f"{self.what} must return a prediction of {shape}, got {tuple(told.shape)}")
        if self.num_classes is not None and told.shape != (len(x), self.num_classes):
            raise GuideGymError(
                f"{self.what} must return logits of shape {(len(x), self.num_classes)}, one per class, "
                f"got {tuple(told.shape)}{advice_on(told, self.num_classes)}"
            )
        return told


class CheckedDenoiser:
    """A denoiser with checked calls, whatever it predicts; calling it returns the noise.

    Args:
        network: ``(x, t, ...) -> prediction``.
        what: Name of the network in error messages.
        process: The noise process it was trained on.
        prediction: What it predicts, one of ``PREDICTIONS``.
        learned_variance: Whether it also predicts a variance, in as many further channels with values in [-1, 1].
    """

    def __init__(
        self,
        network: Callable[..., Any],
        what: str,
        process: Process,
        prediction: str,
        *,
        learned_variance: bool = False,
    ) -> None:
        self._call = Checked(network, what, doubled=learned_variance)
        self._process, self._prediction, self._learned = process, prediction, learned_variance

    def __call__(
        self, x: Float[Tensor, " batch *event"], t: Tensor, *further: Tensor
    ) -> Float[Tensor, " batch *event"]:
        """Return the predicted noise."""
        return self.predicted(x, t, *further).eps

    def predicted(self, x: Float[Tensor, " batch *event"], t: Tensor, *further: Tensor) -> Predicted:
        """Return the prediction as noise and as clean data.

        Raises:
            GuideGymError: If the network's output is not a tensor of the right shape.
        """
        output, spread = self._call(x, t, *further), None
        if self._learned:
            output, further_channels = output.chunk(2, dim=1)
            spread = (further_channels + 1) / 2
        if self._prediction == "noise":
            return Predicted(output, spread=spread)
        signal, sigma = self._process.alpha_bar(t, torch.float64).sqrt(), self._process.sigma(t, torch.float64)
        told = read_prediction(
            self._prediction, output, x, signal=rows_like(signal.to(x), x), sigma=rows_like(sigma.to(x), x)
        )
        return told._replace(spread=spread)


def advice_on(logits: Tensor, num_classes: int) -> str:
    """Return the end of an error message about logits of a wrong shape: what to do if they are those of more classes."""
    if logits.ndim != 2 or logits.shape[1] <= num_classes:
        return ""
    return f"; the model has {num_classes} `class_names`: choose the logit of each by gg.image_classifier(network, classes=[...])"


def warn_of_probabilities(logits: Tensor, what: str) -> None:
    """Warn of rows that sum to one: guidance by their softmax would be wrong and far weaker than intended."""
    rows = logits.detach().double()
    if logits.shape[1] > 1 and bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() < 1e-3).all()):
        warnings.warn(
            f"{what} seems to return probabilities (its rows sum to 1), but logits are expected: return their logarithms",
            UserWarning,
            stacklevel=3,
        )
