"""Kernel distance (KID), per class and unbiased, which makes it usable for searches with ten samples per class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.metrics.checking import check_sets


def cubic_kernel(a: Float[Tensor, " *sets n dim"], b: Float[Tensor, " *sets m dim"]) -> Float[Tensor, " *sets n m"]:
    r"""Return :math:`k(a, b) = (a \cdot b / d + 1)^3`, the usual kernel of KID.

    Source:
        Binkowski et al. 2018.
    """
    return (a @ b.mT / a.shape[-1] + 1) ** 3


def reference_self_term(reference: Float[Tensor, " classes n dim"]) -> Float[Tensor, " classes"]:
    """Return each class' mean kernel value over pairs of different reference samples."""
    count = reference.shape[1]
    kernel = cubic_kernel(reference, reference)
    return (kernel.sum(dim=(1, 2)) - kernel.diagonal(dim1=1, dim2=2).sum(dim=1)) / (count * (count - 1))


@dataclass(frozen=True, eq=False)
class ClassKernels:
    """The terms of the class-wise kernel distance of one sample set, from which resamples are cheap.

    Args:
        within: Kernel between the samples of each class, diagonal zeroed.
        across: Mean kernel between each sample and the references of its class.
        reference: Mean kernel between two different references of each class.
    """

    within: Float[Tensor, " classes n n"]
    across: Float[Tensor, " classes n"]
    reference: Float[Tensor, " classes"]

    def distance(self, weights: Float[Tensor, " resamples classes n"] | None = None) -> Float[Tensor, " resamples"]:
        r"""Return the mean over classes of the unbiased squared MMD.

        .. math:: \frac{\sum_{i \ne j} w_i w_j k(x_i, x_j)}{(\sum w)^2 - \sum w^2}
            - \frac{2}{\sum w} \sum_i w_i \bar k(x_i, R) + \bar k(R, R)

        With integer weights it is the bootstrap of the U-statistic: copies of one sample are not paired with each other,
        which would bias it upwards. If all draws are copies of one sample, there are no pairs, and the mean over all pairs of
        the set is used instead: the mean of the resamples is then the estimate, even with two samples per class.

        Args:
            weights: Number of draws of each sample in each resample; None is one resample with each sample once.

        Source:
            Gretton et al. 2012, eq. 3.
        """
        if weights is None:
            weights = torch.ones_like(self.across)[None]
        total = weights.sum(dim=2)
        within = torch.einsum("bci,cij,bcj->bc", weights, self.within, weights)
        within = _over_pairs(within, weights, self.within.sum(dim=(1, 2)))
        across = torch.einsum("bci,ci->bc", weights, self.across) / total
        return (within - 2 * across + self.reference).mean(dim=1)


def _over_pairs(
    sums: Float[Tensor, " resamples *classes"],
    weights: Float[Tensor, " resamples *classes n"],
    whole: Float[Tensor, " *classes"],
) -> Float[Tensor, " resamples *classes"]:
    """Return means over pairs of two samples from their weighted sums; ``whole`` is the sum over all pairs of the set."""
    num = weights.shape[-1]
    pairs = weights.sum(dim=-1).square() - weights.square().sum(dim=-1)
    return torch.where(pairs > 0, sums / pairs.clamp_min(1), whole / (num * (num - 1)))


def class_kernels(
    features: Float[Tensor, " classes n dim"],
    reference: Float[Tensor, " classes m dim"],
    self_term: Float[Tensor, " classes"],
) -> ClassKernels:
    """Compare the samples of each class with the references of that class, in float64.

    Args:
        features: Judge features of the samples by wanted class, at least two per class.
        reference: Judge features of real images by class.
        self_term: ``reference_self_term(reference)``, which is the same for all sample sets.

    Raises:
        GuideGymError: If a class has fewer than two samples or is missing, or the spaces differ.
    """
    check_sets(features, reference, least=2, by_class=True)
    samples = features.double()
    within = cubic_kernel(samples, samples)
    within.diagonal(dim1=1, dim2=2).zero_()
    across = cubic_kernel(samples, reference.double()).mean(dim=2)
    return ClassKernels(within, across, self_term.double())


def mixture_distance(
    features: Float[Tensor, " classes n dim"],
    reference: Float[Tensor, " classes m dim"],
    weights: Float[Tensor, " resamples classes n"] | None = None,
) -> Float[Tensor, " resamples"]:
    r"""Return the unbiased squared MMD of two mixtures whose classes have fixed equal shares.

    .. math:: \frac{1}{K^2} \sum_{kl} \left( \bar k(X_k, X_l) - 2 \bar k(X_k, R_l) + \bar k(R_k, R_l) \right)

    where means of a class with itself leave out the pairs of a row with itself. Pooling all rows would count pairs within one
    class too rarely: sets with equally many rows per class are more balanced than random ones.

    Args:
        features: Features of the samples by class, at least two per class.
        reference: Features of real data by class.
        weights: Number of draws of each sample in each resample; None is one resample with each sample once.

    Raises:
        GuideGymError: If a class has fewer than two samples or is missing, or the spaces differ.
    """
    check_sets(features, reference, least=2, by_class=True)
    samples, real = features.double(), reference.double()
    num_classes, per_class = samples.shape[:2]
    weights = torch.ones(1, num_classes, per_class, device=samples.device) if weights is None else weights
    counts = weights.double()
    total = counts.sum(dim=2)
    distance = torch.zeros(len(counts), dtype=torch.float64, device=samples.device)
    for k in range(num_classes):
        across = cubic_kernel(samples[k], real.flatten(0, 1)).mean(dim=1)
        distance -= 2 * (counts[:, k] @ across) / total[:, k] * num_classes
        for other in range(k, num_classes):
            values = cubic_kernel(samples[k], samples[other])
            beside = cubic_kernel(real[k], real[other])
            if k == other:
                values.diagonal().zero_()
                sums = ((counts[:, k] @ values) * counts[:, k]).sum(dim=1)
                distance += _over_pairs(sums, counts[:, k], values.sum())
                rows = len(beside)
                distance += (beside.sum() - beside.diagonal().sum()) / (rows * (rows - 1))
            else:
                pairs = ((counts[:, k] @ values) * counts[:, other]).sum(dim=1) / (total[:, k] * total[:, other])
                distance += 2 * (pairs + beside.mean())
    return distance / num_classes**2
