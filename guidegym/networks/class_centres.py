"""The centres of a max-Mahalanobis mixture: maximally separated vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError


def max_mahalanobis_means(num_classes: int, dim: int, scale: float = 10.0) -> Float[Tensor, " classes dim"]:
    r"""Return ``K`` vectors of equal norm and equal angles whose sum is zero: the corners of a simplex.

    .. math:: \|\mu_i\| = S, \quad \langle \mu_i, \mu_j \rangle = -\frac{S^2}{K - 1} \; (i \ne j), \quad \sum_i \mu_i = 0

    Built one corner at a time: each has inner product -1 / (K - 1) with the previous ones, and the rest of its length in a new
    direction.

    Args:
        num_classes: Number ``K`` of vectors, from 2 to ``dim + 1``.
        dim: Their length.
        scale: Norm ``S`` > 0 of each.

    Returns:
        The vectors in float64.

    Raises:
        GuideGymError: If there are too many or too few classes, or the scale is not > 0.

    Source:
        Yang et al. 2021, Algorithm 2; Pang et al. 2018.
    """
    if not 2 <= num_classes <= dim + 1:
        raise GuideGymError(f"`num_classes` must be in 2 .. dim + 1 = {dim + 1}, got {num_classes}")
    if not 0 < scale < float("inf"):
        raise GuideGymError(f"`scale` must be finite and > 0, got {scale}")
    means = torch.zeros(num_classes, dim, dtype=torch.float64)
    means[0, 0] = 1.0
    for i in range(1, num_classes):
        for j in range(i):
            means[i, j] = (-1 / (num_classes - 1) - means[i, :j] @ means[j, :j]) / means[j, j]
        if i < dim:
            means[i, i] = (1 - means[i].square().sum()).clamp_min(0.0).sqrt()
    return scale * means
