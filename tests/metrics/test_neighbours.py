"""Precision, recall, density, coverage and the Inception Score against other implementations and known answers."""

import math

import prdc
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from guidegym import GuideGymError
from guidegym.metrics import neighbours
from guidegym.metrics.inception_score import inception_score
from guidegym.metrics.neighbours import nearest_distances, neighbour_scores


def _rows(num: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_all_four_are_those_of_the_public_implementations() -> None:
    samples, real = _rows(300, 4, 0, 0.7), _rows(260, 4, 1)
    found = neighbour_scores(samples, real)
    wanted = prc_features_to_metric(
        samples.double(), real.double(), prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    assert float(found.precision) == pytest.approx(wanted["precision"], abs=1e-6)
    assert float(found.recall) == pytest.approx(wanted["recall"], abs=1e-6)
    naeem = prdc.compute_prdc(real.double().numpy(), samples.double().numpy(), nearest_k=5)
    assert float(found.density) == pytest.approx(naeem["density"], abs=1e-9)
    assert float(found.coverage) == pytest.approx(naeem["coverage"], abs=1e-9)


def test_neither_the_chunks_nor_the_order_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, real = _rows(120, 3, 0, 0.5), _rows(150, 3, 1)
    whole = neighbour_scores(samples, real)
    monkeypatch.setattr(neighbours, "CHUNK", 32)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(2))
    for one, other in zip(whole, neighbour_scores(samples[order], real.flip(0)), strict=True):
        torch.testing.assert_close(one, other)


def test_identical_sets_are_all_inside_each_other() -> None:
    rows = _rows(200, 4, 0)
    found = neighbour_scores(rows, rows)
    assert [float(found.precision), float(found.recall), float(found.coverage)] == pytest.approx([1.0, 1.0, 1.0])
    assert float(found.density) == pytest.approx(1.0 + 1 / 5, abs=0.01)  # each ball holds its own centre besides


def test_a_dropped_mode_lowers_recall_and_coverage_and_not_precision() -> None:
    real = torch.cat([_rows(200, 2, 0), _rows(200, 2, 1, 20.0)])
    both, one = torch.cat([_rows(200, 2, 2), _rows(200, 2, 3, 20.0)]), _rows(400, 2, 4)
    complete, dropped = neighbour_scores(both, real), neighbour_scores(one, real)
    assert float(dropped.precision) >= float(complete.precision) - 0.03
    assert float(dropped.recall) < 0.55
    assert float(complete.recall) > 0.9
    assert float(dropped.coverage) < 0.55
    assert float(complete.coverage) > 0.9


def test_a_far_cluster_of_samples_lowers_precision_and_density_only() -> None:
    real, good = _rows(300, 2, 0), _rows(300, 2, 1)
    spoiled = torch.cat([good, _rows(300, 2, 2, 50.0)])
    clean, found = neighbour_scores(good, real), neighbour_scores(spoiled, real)
    assert float(found.precision) == pytest.approx(float(clean.precision) / 2, abs=1e-9)
    assert float(found.density) == pytest.approx(float(clean.density) / 2, abs=1e-9)
    assert float(found.coverage) == pytest.approx(float(clean.coverage), abs=1e-9)


def test_a_resample_that_takes_each_once_is_the_set_itself_and_missing_samples_are_missed() -> None:
    samples, real = _rows(100, 3, 0), _rows(100, 3, 1)
    weights = torch.stack([torch.ones(100), torch.cat([torch.full((50,), 2.0), torch.zeros(50)])])
    found, plain = neighbour_scores(samples, real, weights), neighbour_scores(samples, real)
    half = neighbour_scores(samples[:50], real)
    for own, whole in zip(found, plain, strict=True):
        assert float(own[0]) == pytest.approx(float(whole))
    assert float(found.precision[1]) == pytest.approx(float(half.precision))
    assert float(found.coverage[1]) == pytest.approx(float(half.coverage))
    assert float(found.recall[1]) <= float(found.recall[0])


def test_too_few_rows_for_the_neighbours_are_refused() -> None:
    assert len(nearest_distances(_rows(6, 2, 0), (5,))[0]) == 6
    with pytest.raises(GuideGymError, match="at least 6 rows, got 5"):
        neighbour_scores(_rows(20, 2, 0), _rows(5, 2, 1))
    with pytest.raises(GuideGymError, match="at least 4 rows, got 3"):
        neighbour_scores(_rows(3, 2, 0), _rows(20, 2, 1))


def test_the_inception_score_is_torch_fidelity_s_and_lies_between_its_bounds() -> None:
    logits = 3 * _rows(500, 10, 0)
    wanted = isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"]
    assert float(inception_score(logits)) == pytest.approx(wanted, rel=1e-9)
    certain = torch.full((50, 10), -math.inf).scatter(1, torch.arange(50)[:, None] % 10, 0.0)
    assert float(inception_score(certain)) == pytest.approx(10.0)
    assert float(inception_score(certain[::10])) == pytest.approx(1.0)  # one class only
    weights = torch.stack([torch.ones(50), (torch.arange(50) % 10 < 2).double()])
    assert inception_score(certain, weights).tolist() == pytest.approx([10.0, 2.0])


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (1e3, 1e-5), (1e8, 1.0)])
def test_neighbours_of_rows_far_from_zero_are_those_of_the_same_rows_near_it(offset: float, spread: float) -> None:
    # Whole multiples of 1/64 keep the differences exact under the offsets that they are given.
    rows = [(_rows(60, 40, seed) * 64).round().double() / 64 for seed in (1, 2)]
    near = neighbour_scores(*rows)
    scale = 2.0 ** round(math.log2(spread))
    far = neighbour_scores(*(offset + scale * one for one in rows))
    assert [float(one) for one in near] == [float(one) for one in far]
    two = torch.cat([rows[0], rows[0] + 1e9])  # no centre suits two clusters
    torch.testing.assert_close(nearest_distances(two, (3,))[0][:60], nearest_distances(rows[0], (3,))[0])
