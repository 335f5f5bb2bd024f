"""What denoising networks predict - noise, clean data, v, a flow's velocity, a score - as noise and as clean data."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

PREDICTIONS = ("noise", "denoised", "v", "velocity", "score")


class Predicted(NamedTuple):
    r"""A prediction for noisy rows :math:`x_t = a_t x_0 + \sigma_t \epsilon`.

    Args:
        eps: As noise.
        x_0: As clean data, if it is known without division by :math:`a_t`; None if it must be derived from the noise. Where
            the signal ends, as at the first step of a flow, the noise alone does not determine it.
        spread: Where the logarithm of the step's variance lies between that of the smallest (0) and of the largest one (1),
            if the network learned it.
    """

    eps: Float[Tensor, " batch *event"]
    x_0: Float[Tensor, " batch *event"] | None = None
    spread: Float[Tensor, " batch *event"] | None = None

    def rows(self, rows: Tensor | slice) -> "Predicted":
        """Return the prediction for some rows."""
        return Predicted(*(None if one is None else one[rows] for one in self))  # type: ignore[arg-type]

    def detach(self) -> "Predicted":
        """Return the prediction outside any graph."""
        return Predicted(*(None if one is None else one.detach() for one in self))  # type: ignore[arg-type]


def in_order(parts: Sequence[Predicted], rows: Int[Tensor, " batch"]) -> Predicted:
    """Return the predictions of parts of a batch as one, in the order of the batch.

    Args:
        parts: The predictions, with the same entries.
        rows: The row of the batch of each row of the parts, one part after another.
    """
    order = rows.argsort()
    columns = ([one for one in column if one is not None] for column in zip(*parts, strict=True))
    return Predicted(*(torch.cat(column)[order] if column else None for column in columns))  # type: ignore[arg-type]


def read_prediction(
    kind: str,
    output: Float[Tensor, " batch *event"],
    x_t: Float[Tensor, " batch *event"],
    *,
    signal: Float[Tensor, " batch *ones"],
    sigma: Float[Tensor, " batch *ones"],
) -> Predicted:
    r"""Return a network's output as noise and clean data.

    ============  ==================================  ======================================================
    kind          output                              source
    ============  ==================================  ======================================================
    ``noise``     :math:`\epsilon`                    Ho et al. 2020
    ``denoised``  :math:`x_0`                         Karras et al. 2022, :math:`D(x; \sigma)`
    ``v``         :math:`a \epsilon - \sigma x_0`     Salimans and Ho 2022
    ``velocity``  :math:`\epsilon - x_0`              Lipman et al. 2023; Liu et al. 2023: flow matching
    ``score``     :math:`-\epsilon / \sigma`          Song et al. 2021b
    ============  ==================================  ======================================================

    Args:
        kind: One of ``PREDICTIONS``.
        output: The network's output at ``x_t``.
        x_t: Noisy rows.
        signal: :math:`a_t` >= 0 of each row, ready to multiply rows.
        sigma: :math:`\sigma_t` > 0 of each row.
    """
    if kind == "noise":
        return Predicted(output)
    if kind == "score":
        return Predicted(-sigma * output)
    if kind == "denoised":
        return Predicted((x_t - signal * output) / sigma, output)
    if kind == "v":
        power = signal.square() + sigma.square()
        return Predicted((sigma * x_t + signal * output) / power, (signal * x_t - sigma * output) / power)
    total = signal + sigma
    return Predicted((x_t + signal * output) / total, (x_t - sigma * output) / total)
