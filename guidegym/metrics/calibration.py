"""Calibration: whether a classifier is right as often as it says."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 20


def expected_calibration_error(
    logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"], *, bins: int = BINS
) -> float:
    r"""Return :math:`\mathrm{ECE} = \sum_m \frac{|B_m|}{n} |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|` over bins of confidence.

    Source:
        CG-SC, section A.2; Yang et al. 2021, eq. 12, both with 20 bins.
    """
    probabilities = logits.softmax(dim=1)
    error = multiclass_calibration_error(probabilities, labels, num_classes=logits.shape[1], n_bins=bins, norm="l1")
    return float(error)


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: what a classifier says and how often it is right, bin by bin; empty bins are NaN.

    Args:
        confidence: Mean confidence of each bin.
        accuracy: Accuracy of each bin.
        count: Rows in each bin.
    """

    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    count: Int[Tensor, " bins"]


def reliability(logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"], *, bins: int = BINS) -> Reliability:
    """Sort rows by their confidence into equal bins of [0, 1], and say what each bin holds."""
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    hit = (predicted == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/bins], ..., as torchmetrics has them
    count = torch.bincount(place, minlength=bins)
    return Reliability(
        torch.bincount(place, weights=confidence, minlength=bins) / count,
        torch.bincount(place, weights=hit, minlength=bins) / count,
        count,
    )
