"""The interface of losses, and the noising shared by losses over noisy images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import Process, noisy_rows, rows_like
from guidegym.errors import GuideGymError

Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""``(network, images in [-1, 1], labels, generator) -> scalar``, a mean over the batch. A label of -1 is unknown.

A loss with state is a module with buffers, which checkpoints store.
"""
UNKNOWN = -1
"""The label of a row whose class is unknown to the training."""


class DivergedError(GuideGymError):
    """The energies of an energy-based loss diverged."""


class Noised(NamedTuple):
    """Noisy rows, the noise in them, their timesteps, and the noise's standard deviation ready to multiply rows."""

    x_t: Float[Tensor, " batch *event"]
    noise: Float[Tensor, " batch *event"]
    t: Shaped[Tensor, " batch"]
    sigma: Float[Tensor, " batch *ones"]


def noised(process: Process, x_0: Float[Tensor, " batch *event"], generator: torch.Generator) -> Noised:
    """Noise clean rows to stratified timesteps over the batch, which have a lower variance than independent ones."""
    batch = len(x_0)
    offsets = torch.rand(batch, generator=generator, device=x_0.device)
    strata = torch.randperm(batch, generator=generator, device=x_0.device)
    grid = process.grid().to(x_0.device)
    t = grid[((strata + offsets) / batch * len(grid)).long().clamp(max=len(grid) - 1)]
    noise = torch.randn(x_0.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
    sigma = rows_like(process.sigma(t, x_0.dtype), x_0)
    return Noised(noisy_rows(process, x_0, t, noise), noise, t, sigma)


def labelled_cross_entropy(
    logits: Float[Tensor, " batch classes"], labels: Int[Tensor, " batch"], *, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    r"""Return the mean of :math:`-\log p(y|x)` over the rows whose class is known, through the log-softmax.

    An ``eps`` inside a logarithm would suppress the gradient exactly where a guide is needed: where p(y|x) is small.
    """
    return functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, label_smoothing=smoothing)
