"""Precision, recall, density and coverage: comparison of two sets of features by nearest neighbours."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.metrics.checking import check_features, check_sets, checked_weights

CHUNK = 1000
NEAREST_PRECISION = 3
"""Number of neighbours that define the manifolds of precision and recall: Kynkaanniemi et al."""
NEAREST_COVERAGE = 5
"""Number of neighbours that define the manifold of density and coverage: Naeem et al."""


class NeighbourScores(NamedTuple):
    """Four scores, with one value per resample.

    Args:
        precision: Share of the samples inside the manifold of the real data.
        recall: Share of the real data inside the manifold of the samples.
        density: Mean number of real balls around a sample, in units of the number of neighbours; about 1 for equal distributions.
        coverage: Share of the real balls that contain a sample.
    """

    precision: Float[Tensor, " resamples"]
    recall: Float[Tensor, " resamples"]
    density: Float[Tensor, " resamples"]
    coverage: Float[Tensor, " resamples"]


def distances(one: Float[Tensor, " n dim"], other: Float[Tensor, " m dim"]) -> Float[Tensor, " n m"]:
    """Return Euclidean distances, computed from differences.

    The faster matrix product, :math:`|a|^2 - 2ab + |b|^2`, suffers from cancellation for rows close together and far from 0.
    """
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_distances(features: Float[Tensor, " n dim"], nearest: tuple[int, ...]) -> tuple[Float[Tensor, " n"], ...]:
    """Return each row's distances to its ``k``-th nearest other rows, for several ``k``.

    Raises:
        GuideGymError: If there are too few other rows, or they are not finite.
    """
    most = max(nearest) + 1  # the nearest is the row itself
    check_features("features", features, least=most)
    found = [distances(rows, features).topk(most, largest=False).values for rows in features.split(CHUNK)]
    return tuple(torch.cat(found)[:, k] for k in nearest)


def neighbour_scores(
    samples: Float[Tensor, " n dim"],
    real: Float[Tensor, " m dim"],
    weights: Float[Tensor, " resamples n"] | None = None,
) -> NeighbourScores:
    r"""Return all four scores from one computation of the distances.

    With :math:`B_k(x)` the ball around ``x`` that reaches its ``k``-th nearest neighbour of the same set,

    .. math:: \mathrm{precision} = \frac1n \sum_i 1[y_i \in \cup_j B_3(x_j)], \quad
              \mathrm{recall} = \frac1m \sum_j 1[x_j \in \cup_i B_3(y_i)], \\
              \mathrm{density} = \frac1{5n} \sum_{ij} 1[y_i \in B_5(x_j)], \quad
              \mathrm{coverage} = \frac1m \sum_j 1[\exists i: y_i \in B_5(x_j)]

    for samples ``y`` and real rows ``x``. Recall and coverage depend on the numbers of both: compare at equal
    numbers. Resamples keep the balls and leave out those of samples that are not drawn.

    Args:
        samples: Features of the samples.
        real: Features of the real data.
        weights: Number of draws of each sample in each resample; None is one resample with each sample once.

    Raises:
        GuideGymError: If a set has too few rows for its neighbours, they are not finite or lie in different spaces, or
            the weights do not match the rows.

    Source:
        Kynkaanniemi et al. 2019, eq. 1-3; Naeem et al. 2020, eq. 2-3.
    """
    check_sets(samples, real)
    draws = checked_weights(weights, samples)
    samples, real = samples.double(), real.double()
    drawn = (draws > 0).float().mT
    (own_radius,) = nearest_distances(samples, (NEAREST_PRECISION,))
    real_radius, ball_radius = nearest_distances(real, (NEAREST_PRECISION, NEAREST_COVERAGE))
    inside = torch.zeros(len(samples), dtype=torch.bool, device=samples.device)
    balls = torch.zeros(len(samples), dtype=torch.float64, device=samples.device)
    recalled, covered = (torch.zeros(drawn.shape[1], dtype=torch.float64, device=samples.device) for _ in range(2))
    for rows, radius, ball in zip(real.split(CHUNK), real_radius.split(CHUNK), ball_radius.split(CHUNK), strict=True):
        distance = distances(rows, samples)
        within = distance <= ball[:, None]
        inside |= (distance <= radius[:, None]).any(dim=0)
        balls += within.sum(dim=0)
        recalled += ((distance <= own_radius).float() @ drawn > 0).sum(dim=0)
        covered += (within.float() @ drawn > 0).sum(dim=0)
    shares = draws / draws.sum(dim=1, keepdim=True)
    return NeighbourScores(
        precision=shares @ inside.double(),
        recall=recalled / len(real),
        density=shares @ balls / NEAREST_COVERAGE,
        coverage=covered / len(real),
    )
