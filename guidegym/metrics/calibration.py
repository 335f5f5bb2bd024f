"""Calibration: whether a classifier's confidence matches its accuracy."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.metrics.checking import check_labelled
from guidegym.support.settings import check_count

BINS = 20


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: confidence and accuracy per bin; empty bins are NaN.

    Args:
        confidence: Mean confidence of each bin.
        accuracy: Accuracy of each bin.
        count: Rows in each bin.
    """

    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    count: Int[Tensor, " bins"]


def reliability(logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"], *, bins: int = BINS) -> Reliability:
    """Sort rows by confidence into equal bins of (0, 1], and return the statistics of each bin.

    Bin ``m`` of ``M`` is ``((m - 1) / M, m / M]``, so that full confidence belongs to the last one; float64.

    Args:
        logits: Logits, finite.
        labels: True classes, in 0 .. K - 1.
        bins: Number ``M`` of bins, >= 1.

    Raises:
        GuideGymError: If logits are not finite, or a label is out of range.

    Source:
        Guo et al. 2017, section 2.
    """
    check_count("bins", bins, least=1)
    check_labelled(logits, labels)
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    hit = (predicted == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    mean_confidence, accuracy = (torch.bincount(place, weights=of, minlength=bins) / count for of in (confidence, hit))
    return Reliability(mean_confidence, accuracy, count)


def expected_calibration_error(
    logits: Float[Tensor, " n classes"], labels: Int[Tensor, " n"], *, bins: int = BINS
) -> float:
    r"""Return :math:`\mathrm{ECE} = \sum_m \frac{|B_m|}{n} |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|` over bins of confidence.

    The bins, arguments and errors are those of ``reliability``.

    Source:
        CG-SC, section A.2; Yang et al. 2021, eq. 12, both with 20 bins.
    """
    held = reliability(logits, labels, bins=bins)
    return float((held.count * (held.accuracy - held.confidence).abs()).nansum() / held.count.sum())
