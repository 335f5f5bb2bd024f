import statistics

import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from guidegym import GuideGymError
from guidegym.metrics import extrapolated_frechet, frechet_distance, moments, resampled_frechet
from guidegym.metrics.resampling import resampling_weights


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
    with pytest.raises(GuideGymError, match="`mean` must be finite"):
        frechet_distance(mean * float("nan"), covariance, mean, covariance)


def _gaussian(num: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    rows: torch.Tensor = torch.randn(num, dim, generator=generator, dtype=torch.float64) @ (mixing / dim**0.5)
    return rows


def test_resamples_are_the_distances_of_the_repeated_rows() -> None:
    rows, other = _gaussian(80, 5, 0), _gaussian(90, 5, 1) + 0.5
    weights = torch.randint(3, (4, 80), generator=torch.Generator().manual_seed(2)).double()
    got = resampled_frechet(rows, weights, *moments(other))
    for one, counts in zip(got, weights.long(), strict=True):
        repeated = rows.repeat_interleave(counts, dim=0)
        assert float(one) == pytest.approx(frechet_distance(*moments(repeated), *moments(other)), rel=1e-8)


def test_resamples_of_few_rows_have_a_singular_covariance_and_are_right() -> None:
    rows, other = _gaussian(6, 12, 0), _gaussian(200, 12, 1)
    got = resampled_frechet(rows, torch.ones(1, 6), *moments(other))
    assert float(got) == pytest.approx(frechet_distance(*moments(rows), *moments(other)), rel=1e-6)


def test_the_extrapolated_distance_of_one_gaussian_covers_zero_where_the_plain_one_is_far_above() -> None:
    num, dim = 1000, 32
    reference = moments(_gaussian(400_000, dim, 1234))
    halves = torch.stack([torch.randperm(num, generator=torch.Generator().manual_seed(i)) < num // 2 for i in range(4)])
    ones = torch.ones(1, num)
    plain, extrapolated = [], []
    for seed in range(24):
        rows = _gaussian(num, dim, seed)
        plain.append(float(resampled_frechet(rows, ones, *reference)))
        extrapolated.append(float(extrapolated_frechet(rows, ones, *reference, halves=halves)))
    (plain_mean, plain_error), (mean, error) = (
        (statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5) for values in (plain, extrapolated)
    )
    assert plain_mean > 10 * statistics.stdev(plain) > 10 * plain_error
    assert abs(mean) < 3 * error


def test_the_spread_of_resamples_is_that_of_new_samples() -> None:
    classes, per_class, dim = 5, 40, 8
    centres = 5.0 * torch.eye(dim, dtype=torch.float64)[:classes]

    def drawn(per: int, seed: int) -> torch.Tensor:
        return (centres + _gaussian(per * classes, dim, seed).reshape(per, classes, dim)).flatten(0, 1)

    reference = moments(drawn(20_000, 99))
    order = torch.stack([torch.randperm(per_class, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    halves = (order < per_class // 2).repeat_interleave(classes, dim=1)
    ones = torch.ones(1, per_class * classes, dtype=torch.float64)

    def extrapolated(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return extrapolated_frechet(rows, weights, *reference, halves=halves, num_classes=classes)

    new = torch.cat([extrapolated(drawn(per_class, seed), ones) for seed in range(40)])
    weights = resampling_weights(classes, per_class, resamples=40, seed=0).transpose(1, 2).flatten(1)
    spreads = torch.stack([extrapolated(drawn(per_class, seed), weights).std() for seed in range(3)])
    assert (
        0.8 < float(spreads.mean() / new.std()) < 3
    )  # wider, as resamples repeat rows; ten times without equal shares


def test_resamples_of_the_fewest_rows_have_a_number() -> None:
    weights = resampling_weights(2, 4, resamples=200, seed=0).transpose(1, 2).flatten(1)
    halves = torch.tensor([[True, True, False, False, True, True, False, False]])
    rows, reference = _gaussian(8, 2, 0), moments(_gaussian(500, 2, 1))
    assert bool(extrapolated_frechet(rows, weights, *reference, halves=halves, num_classes=2).isfinite().all())
