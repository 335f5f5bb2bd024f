"""Detection of failed samples, on which a judge's features are meaningless."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from guidegym.testbeds import Testbed

FAR_AWAY = 10.0
"""A sample whose feature norm exceeds that of every real one by this factor counts as failed."""
FEWEST_MIDTONES = 0.01
"""A sample with a smaller share of values within its clipping bounds is saturated and counts as failed.

No real Fashion-MNIST image has less than 0.09.
"""


class Failures(NamedTuple):
    """The failed samples by kind of failure.

    Args:
        not_finite: Samples with a NaN or an infinity.
        saturated: Samples with almost no values within the clipping bounds.
        far_away: Samples whose features are not finite, or far larger in norm than those of any real one.
    """

    not_finite: Bool[Tensor, " n"]
    saturated: Bool[Tensor, " n"]
    far_away: Bool[Tensor, " n"]

    @property
    def rows(self) -> Bool[Tensor, " n"]:
        """Samples that failed in any way."""
        return self.not_finite | self.saturated | self.far_away


def failures_of(
    testbed: Testbed,
    x: Float[Tensor, " n *event"],
    features: Float[Tensor, " n dim"],
    real: Float[Tensor, " classes m dim"],
) -> Failures:
    """Return which samples are non-finite, saturated, or far away from all real data in the same features."""
    farthest = FAR_AWAY * real.norm(dim=2).max()
    not_finite = ~x.flatten(1).isfinite().all(dim=1)
    saturated = torch.zeros_like(not_finite)
    if testbed.clip is not None:
        saturated = (x.abs() < 0.98 * testbed.clip).flatten(1).double().mean(dim=1) < FEWEST_MIDTONES
    return Failures(not_finite, saturated & ~not_finite, ~(features.norm(dim=1) <= farthest) & ~not_finite)
