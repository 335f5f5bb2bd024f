"""Kernel distance (KID), class by class and unbiased, so that it can be searched on at ten samples a class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError


def cubic_kernel(a: Float[Tensor, " *sets n dim"], b: Float[Tensor, " *sets m dim"]) -> Float[Tensor, " *sets n m"]:
    r"""Return :math:`k(a, b) = (a \cdot b / d + 1)^3`, the usual kernel of KID.

    Source:
        Binkowski et al. 2018.
    """
    return (a @ b.mT / a.shape[-1] + 1) ** 3


def reference_self_term(reference: Float[Tensor, " classes n dim"]) -> Float[Tensor, " classes"]:
    """Return each class' mean kernel value between two different reference samples."""
    count = reference.shape[1]
    kernel = cubic_kernel(reference, reference)
    return (kernel.sum(dim=(1, 2)) - kernel.diagonal(dim1=1, dim2=2).sum(dim=1)) / (count * (count - 1))


@dataclass(frozen=True, eq=False)
class ClassKernels:
    """All that the class-wise kernel distance of one sample set is made of, so that resampling it is cheap.

    Args:
        within: Kernel between the samples of each class, diagonal zeroed.
        across: Mean kernel between each sample and its class' references.
        reference: Mean kernel between two references of each class.
    """

    within: Float[Tensor, " classes n n"]
    across: Float[Tensor, " classes n"]
    reference: Float[Tensor, " classes"]

    def distance(self, weights: Float[Tensor, " resamples classes n"] | None = None) -> Float[Tensor, " resamples"]:
        r"""Return the mean over classes of the unbiased squared MMD.

        .. math:: \frac{\sum_{i \ne j} w_i w_j k(x_i, x_j)}{(\sum w)^2 - \sum w^2}
            - \frac{2}{\sum w} \sum_i w_i \bar k(x_i, R) + \bar k(R, R)

        With whole-number weights it is the bootstrap of the U-statistic: copies of one sample are not paired with each
        other, which would bias it upwards.

        Args:
            weights: How often each sample is drawn in each resample; None counts each once, as one resample.

        Source:
            Gretton et al. 2012, eq. 3.
        """
        if weights is None:
            weights = torch.ones_like(self.across)[None]
        total = weights.sum(dim=2)
        pairs = (total.square() - weights.square().sum(dim=2)).clamp_min(1)
        within = torch.einsum("bci,cij,bcj->bc", weights, self.within, weights) / pairs
        across = torch.einsum("bci,ci->bc", weights, self.across) / total
        return (within - 2 * across + self.reference).mean(dim=1)


def class_kernels(
    features: Float[Tensor, " classes n dim"],
    reference: Float[Tensor, " classes m dim"],
    self_term: Float[Tensor, " classes"],
) -> ClassKernels:
    """Compare the samples of each class with the references of that class, in float64.

    Args:
        features: Judge features of the samples by the class that was asked for, at least two a class.
        reference: Judge features of real images by class.
        self_term: ``reference_self_term(reference)``, which does not change between sample sets.

    Raises:
        GuideGymError: If a class has fewer than two samples.
    """
    if features.shape[1] < 2:
        raise GuideGymError(f"the kernel distance needs at least 2 samples a class, got {features.shape[1]}")
    samples = features.double()
    within = cubic_kernel(samples, samples)
    within.diagonal(dim1=1, dim2=2).zero_()
    across = cubic_kernel(samples, reference.double()).mean(dim=2)
    return ClassKernels(within, across, self_term.double())
