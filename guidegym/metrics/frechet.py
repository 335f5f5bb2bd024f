"""Frechet distance between two sets of features, at a finite number of samples and extrapolated to infinitely many."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.metrics.checking import check_features, check_moments, check_sets, checked_weights

AT_ONCE = 2**23
"""Numbers that the moments of resamples may take at a time: 64 MB."""


def moments(
    features: Float[Tensor, " n dim"], counts: Float[Tensor, "*resamples n"] | None = None
) -> tuple[Float[Tensor, "*resamples dim"], Float[Tensor, "*resamples dim dim"]]:
    """Return the mean and the unbiased covariance in float64.

    Args:
        features: One row per sample.
        counts: Multiplicity of each row, or of each row in each resample; None counts each once.

    Raises:
        GuideGymError: If a feature is not finite, or the total count is at most 1, which gives no covariance.
    """
    check_features("features", features)
    rows = features.double()
    counts = torch.ones(len(rows), dtype=torch.float64, device=rows.device) if counts is None else counts.double()
    total = counts.sum(dim=-1, keepdim=True)
    if not float(total.min()) > 1:
        raise GuideGymError(f"a covariance needs more than one row, got a total count of {float(total.min()):g}")
    # Centred first: far from the origin, the difference of squares below would lose digits.
    centre = rows.mean(dim=0)
    rows = rows - centre
    mean = counts @ rows / total
    squares = rows.mT @ (counts[..., None] * rows) - (total * mean)[..., None] * mean[..., None, :]
    return mean + centre, squares / (total[..., None] - 1)


def frechet_distance(
    mean_1: Float[Tensor, " dim"],
    covariance_1: Float[Tensor, " dim dim"],
    mean_2: Float[Tensor, " dim"],
    covariance_2: Float[Tensor, " dim dim"],
) -> float:
    r"""Return the Frechet distance of two Gaussians.

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    It is biased upwards at small n: compare at equal n only.

    Raises:
        GuideGymError: If a moment is not finite, or the two have different dimensions.
    """
    check_moments(mean_1, covariance_1)
    check_moments(mean_2, covariance_2)
    check_sets(mean_1[None], mean_2[None])
    return float(_distance(mean_1.double(), covariance_1.double(), mean_2, covariance_2, matrix_root(covariance_2)))


def _distance(own_mean: Tensor, own_covariance: Tensor, mean: Tensor, covariance: Tensor, root: Tensor) -> Tensor:
    r"""Return the distances of one or more Gaussians from a second one, given the root of its covariance.

    :math:`\mathrm{tr}(\Sigma_1 \Sigma_2)^{1/2}` is that of the symmetric :math:`\Sigma_2^{1/2} \Sigma_1 \Sigma_2^{1/2}`, whose
    eigenvalues are the same and much faster to compute.
    """
    shared = torch.linalg.eigvalsh(root @ own_covariance @ root).clamp_min(0).sqrt().sum(dim=-1)
    traces = own_covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1) + covariance.double().trace()
    distance: Tensor = (own_mean - mean).square().sum(dim=-1) + traces - 2 * shared
    return distance


def matrix_root(covariance: Float[Tensor, " dim dim"]) -> Float[Tensor, " dim dim"]:
    """Return the symmetric square root of a positive semi-definite matrix, in float64."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root: Tensor = vectors @ (values.clamp_min(0).sqrt()[:, None] * vectors.mT)
    return root


def resampled_frechet(
    features: Float[Tensor, " n dim"],
    weights: Float[Tensor, " resamples n"],
    mean: Float[Tensor, " dim"],
    covariance: Float[Tensor, " dim dim"],
) -> Float[Tensor, " resamples"]:
    """Return the Frechet distances of many resamples of a sample set from one reference, whose root is computed once.

    Args:
        features: One row per sample.
        weights: Number of draws of each sample in each resample; a zero leaves it out.
        mean: Mean of the reference.
        covariance: Covariance of the reference.

    Raises:
        GuideGymError: If there are fewer than two samples, they or a moment are not finite, or their space is not that
            of the reference.
    """
    check_sets(features, mean[None], least=2)
    check_moments(mean, covariance)
    draws = checked_weights(weights, features)
    root, together = matrix_root(covariance), max(1, AT_ONCE // (features.shape[1] * max(features.shape)))
    return torch.cat([_distance(*moments(features, some), mean, covariance, root) for some in draws.split(together)])


def extrapolated_frechet(
    features: Float[Tensor, " n dim"],
    weights: Float[Tensor, " resamples n"],
    mean: Float[Tensor, " dim"],
    covariance: Float[Tensor, " dim dim"],
    *,
    halves: Bool[Tensor, " splits n"],
    num_classes: int = 1,
) -> Float[Tensor, " resamples"]:
    r"""Return the Frechet distance extrapolated to infinitely many samples, :math:`2 F_n - F_{n/2}`.

    The distance at ``n`` samples is biased upwards by a term in :math:`1/n` and higher-order ones. The mean distance of the two
    halves has twice that term; averaging over several halvings reduces the noise of the difference.

    Args:
        features: One row per sample.
        weights: Number of draws of each sample in each resample.
        mean: Mean of the reference, over many more rows than there are samples: its own bias stays.
        covariance: Covariance of the reference.
        halves: Halvings of the samples: True in one half. Halves must keep the classes' shares.
        num_classes: Number of classes, which the rows cycle through; their shares are also kept in the halves of resamples.

    Raises:
        GuideGymError: If there are fewer than four samples, which cannot be halved, or as in ``resampled_frechet``.

    Source:
        Chong and Forsyth 2020, who fit a line in 1/n; two points suffice, and larger sets are less biased.
    """
    check_features("features", features, least=4)
    whole = resampled_frechet(features, weights, mean, covariance)
    parts = [
        resampled_frechet(features, _of_half(weights, half, num_classes), mean, covariance)
        for one in halves
        for half in (one, ~one)
    ]
    return 2 * whole - torch.stack(parts).mean(dim=0)


def _of_half(
    weights: Float[Tensor, " resamples n"], half: Bool[Tensor, " n"], num_classes: int
) -> Float[Tensor, " resamples n"]:
    """Return the weights in one half, scaled so that each class has as much weight as without resampling.

    A resample draws a class' rows from both halves; without scaling, the class shares of a half would vary by chance, which
    affects its distance more than anything the interval should show. Rows of a class without draws count once each.
    """
    rows = half.to(weights).unflatten(0, (-1, num_classes))
    drawn = weights.unflatten(1, (-1, num_classes)) * rows
    total = drawn.sum(dim=1, keepdim=True)
    return torch.where(total > 0, drawn * rows.sum(dim=0) / total.clamp_min(1e-9), rows).flatten(1)
