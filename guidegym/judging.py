"""Which samples have failed: a judge's features of them mean nothing."""

from jaxtyping import Bool, Float
from torch import Tensor

from guidegym.testbeds import Testbed

FAR_AWAY = 10.0
"""A sample whose features are so many times longer than those of any real one counts as failed."""
FEWEST_MIDTONES = 0.01
"""A sample with a smaller share of values inside its clipping bounds is saturated and counts as failed.

Of real Fashion-MNIST images none has less than 0.09.
"""


def failed_rows(
    testbed: Testbed,
    x: Float[Tensor, " n *event"],
    features: Float[Tensor, " n dim"],
    real: Float[Tensor, " classes m dim"],
) -> Bool[Tensor, " n"]:
    """Say which samples are not finite, saturated, or far away from all real data.

    Args:
        testbed: Where the samples come from.
        x: The samples.
        features: Their features.
        real: Real data in the same features.
    """
    farthest = FAR_AWAY * real.norm(dim=2).max()
    failed: Tensor = ~x.flatten(1).isfinite().all(dim=1) | ~(features.norm(dim=1) <= farthest)
    if testbed.clip is not None:
        midtones = (x.abs() < 0.98 * testbed.clip).flatten(1).double().mean(dim=1)
        failed = failed | (midtones < FEWEST_MIDTONES)
    return failed
