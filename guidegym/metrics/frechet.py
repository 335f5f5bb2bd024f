"""Frechet distance between two sets of features, by torch-fidelity."""

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError


def moments(
    features: Float[Tensor, " n dim"], counts: Float[Tensor, " n"] | None = None
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim dim"]]:
    """Return the mean and the unbiased covariance in float64.

    Args:
        features: One row a sample.
        counts: How often each row counts; None counts each once.
    """
    rows = features.double()
    counts = torch.ones(len(rows), dtype=torch.float64, device=rows.device) if counts is None else counts.double()
    total = counts.sum()
    mean = counts @ rows / total
    centred = rows - mean
    return mean, centred.mT @ (counts[:, None] * centred) / (total - 1)


def frechet_distance(
    mean_1: Float[Tensor, " dim"],
    covariance_1: Float[Tensor, " dim dim"],
    mean_2: Float[Tensor, " dim"],
    covariance_2: Float[Tensor, " dim dim"],
) -> float:
    r"""Return the Frechet distance of two Gaussians, as torch-fidelity computes it.

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    It is biased upwards at small n: compare at equal n only.

    Raises:
        GuideGymError: If a moment is not finite.
    """
    # Imported here: torch-fidelity brings torchvision along, which takes seconds.
    from threadpoolctl import threadpool_limits
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    statistics = []
    for mean, covariance in ((mean_1, covariance_1), (mean_2, covariance_2)):
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise GuideGymError("the Frechet distance needs finite moments")
        statistics.append({"mu": mean.double().cpu().numpy(), "sigma": covariance.double().cpu().numpy()})
    # One BLAS thread: eigenvalues of small matrices are slower, and sometimes hang, on many.
    with threadpool_limits(1, "blas"):
        return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])
