import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from guidegym import GuideGymError
from guidegym.metrics import frechet_distance, moments


def test_distance_of_commuting_gaussians_is_the_closed_form() -> None:
    mean_1, mean_2 = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    spread_1, spread_2 = torch.tensor([2.0, 1.0]), torch.tensor([0.5, 3.0])
    got = frechet_distance(mean_1, spread_1.square().diag(), mean_2, spread_2.square().diag())
    assert got == pytest.approx(5.0 + float((spread_1 - spread_2).square().sum()), rel=1e-9)


def test_moments_and_distance_equal_those_of_torch_fidelity() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 6, generator=generator).double(), torch.rand(150, 6, generator=generator).double()
    wanted = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False)
    assert frechet_distance(*moments(a), *moments(b)) == pytest.approx(wanted["frechet_inception_distance"], rel=1e-9)


def test_counts_are_repetitions() -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = torch.tensor([2.0, 0.0, 1.0, 3.0, 1.0])
    repeated = rows[[0, 0, 2, 3, 3, 3, 4]]
    for got, wanted in zip(moments(rows, counts), moments(repeated), strict=True):
        torch.testing.assert_close(got, wanted)


def test_moments_that_are_not_finite_are_refused() -> None:
    mean, covariance = torch.zeros(2), torch.eye(2)
    with pytest.raises(GuideGymError, match="finite moments"):
        frechet_distance(mean * float("nan"), covariance, mean, covariance)
