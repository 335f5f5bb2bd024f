"""What a sample set is measured by, compared by, and written as."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sampled import GUIDED, PLAIN, collected
from torch import Tensor

from guidegym import GuideGymError, Testbed
from guidegym.errors import FileFormatError
from guidegym.evaluation.measuring.measurement import Measurement, delta, deltas
from guidegym.evaluation.measuring.metrics import METRICS, check_size, measure_set
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.results import comparable, from_json, result_of, to_json
from guidegym.metrics import frechet_distance, moments
from guidegym.metrics.neighbours import neighbour_scores
from guidegym.metrics.resampling import Estimate, percentiles


def test_numbers_are_those_of_the_plain_functions(collection: Collection, digits: Testbed) -> None:
    own, references = collected(GUIDED, collection), digits.references
    found = measure_set(own, references, list(METRICS), resamples=5)
    assert found.keys() == METRICS.keys()
    assert found["frechet"].value == pytest.approx(
        frechet_distance(*moments(own.features), *references.pooled), rel=1e-5
    )
    real = references.features[:, :8].flatten(0, 1)
    scores = neighbour_scores(own.features, real)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name].value == pytest.approx(float(getattr(scores, name)))
    by_class = own.by_class(own.features)
    class_scores = [neighbour_scores(by_class[k], references.features[k, :8]) for k in range(10)]
    for name in ("precision", "coverage"):
        wanted = sum(float(getattr(score, name)) for score in class_scores) / 10
        assert found[f"intra_{name}"].value == pytest.approx(wanted)
    wanted = sum(
        frechet_distance(*moments(by_class[k]), references.mean[k], references.covariance[k]) for k in range(10)
    )
    assert found["intra_frechet"].value == pytest.approx(wanted / 10, rel=1e-4)
    assert found["accuracy"].value == pytest.approx(float(own.hits[:, 0].double().mean()))
    assert found["robustness"].value == pytest.approx(float(own.hits.double().mean()))
    assert own.divergence is not None
    assert found["energy_divergence"].value == pytest.approx(float(own.divergence.double().mean()))
    for name, one in found.items():
        assert one.draws.shape == (5,), name
        if METRICS[name].share:
            assert 0 <= one.estimate.low <= one.estimate.high <= 1


def test_the_order_of_rows_within_a_class_does_not_matter(collection: Collection, digits: Testbed) -> None:
    own = collected(GUIDED, collection)
    order = torch.arange(80).reshape(8, 10)[torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])].flatten()
    assert own.spatial is not None
    assert own.divergence is not None
    moved = replace(
        own,
        features=own.features[order],
        logits=own.logits[order],
        spatial=own.spatial[order],
        hits=own.hits[order],
        divergence=own.divergence[order],
    )
    names = [name for name in METRICS if name != "frechet_infinite"]  # its halves are random
    one, other = (measure_set(rows, digits.references, names, resamples=2) for rows in (own, moved))
    for name in names:
        assert one[name].value == pytest.approx(other[name].value, rel=1e-4, abs=1e-6), name


def test_a_failed_sample_spoils_distances_and_counts_as_a_miss(collection: Collection, digits: Testbed) -> None:
    own = collected(GUIDED, collection)
    failed = own.failed.clone()
    failed[0] = True
    found = measure_set(replace(own, failed=failed), digits.references, ["frechet", "precision", "accuracy"])
    assert math.isinf(found["frechet"].value)
    assert math.isnan(found["precision"].value)
    assert math.isfinite(found["accuracy"].value)
    clean = measure_set(own, digits.references, ["frechet"])
    assert math.isnan(delta(found["frechet"], clean["frechet"]).p_value)


def test_sets_too_small_are_refused_and_small_ones_warned_of(digits: Testbed) -> None:
    with pytest.raises(GuideGymError, match="`precision` needs at least 6 samples per class, got 5"):
        check_size(["precision"], digits.references, per_class=5)
    with pytest.warns(UserWarning, match="60 samples are few for Frechet in 64 dimensions"):
        check_size(["frechet", "kid"], digits.references, per_class=6)
    with pytest.warns(UserWarning, match="100 samples are few for intra-Frechet .* 128 samples per class"):
        check_size(["intra_frechet"], digits.references, per_class=100)
    check_size(list(METRICS), digits.references, per_class=128)


def _fake(values: Tensor, draws: Tensor) -> Measurement:
    value, drawn = float(values.mean()), values[draws].mean(dim=1)
    return Measurement(value, drawn, percentiles(value, drawn))


def test_the_paired_test_is_calibrated_and_sees_what_the_intervals_hide() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(200, (400, 200), generator=generator)
    p_values = []
    for _ in range(200):
        shared, noise = (torch.randn(200, generator=generator, dtype=torch.float64) for _ in range(2))
        p_values.append(delta(_fake(shared + 0.1 * noise, draws), _fake(shared, draws)).p_value)
    # Uniform under no difference: about 5 % below 0.05.
    below = sum(p < 0.05 for p in p_values) / len(p_values)
    assert 0.01 < below < 0.11
    shared = torch.randn(200, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(200, generator=generator, dtype=torch.float64)
    one, other = _fake(shared + 0.05 + noise, draws), _fake(shared, draws)
    assert one.estimate.low < other.estimate.high  # the intervals overlap
    found = delta(one, other)
    assert found.p_value < 1e-3
    assert found.estimate.low > 0
    assert deltas({"x": one}, {"x": one, "y": other})["x"].p_value == 1.0


def test_results_are_read_back_and_stand_only_beside_their_like(collection: Collection, tmp_path: Path) -> None:
    own = collected(GUIDED, collection)
    measured = measure_set(own, collection.testbed.references, ["frechet", "accuracy"], resamples=4)
    path, shared = tmp_path / "earlier" / "results.json", comparable(collection)
    path.parent.mkdir()
    path.write_text(to_json([result_of(own, measured, deltas(measured, measured), seed=3)], shared, {"seed": 3}))
    (found,) = from_json(path, shared)
    assert found.name == "earlier/guided"
    assert found.estimates["frechet"] == measured["frechet"].estimate
    assert found.evaluations == own.evaluations.sum() / 80
    for other, said in (
        (comparable(replace(collection, energy="robust_r0")), "another classifier of energies"),
        (comparable(replace(collection, per_class=9)), "another number of samples .*: 80, not 90"),
        ({**shared, "extractor": {"name": "digits judge", "digest": "0"}}, "another extractor"),
        ({**shared, "testbed": "fashion"}, "another testbed"),
    ):
        with pytest.raises(GuideGymError, match=said):
            from_json(path, other)
    for text, said in (
        ("{", "is not valid JSON"),
        ('{"format": "x"}', "must have format"),
        ("{}", "not a readable"),
    ):
        path.write_text(text)
        with pytest.raises(FileFormatError, match=said):
            from_json(path, shared)


def test_numbers_that_cannot_be_measured_are_null_and_come_back(collection: Collection, tmp_path: Path) -> None:
    own = collected(PLAIN, collection)
    spoiled = replace(own, failed=torch.ones_like(own.failed))
    measured = measure_set(spoiled, collection.testbed.references, ["frechet", "recall"])
    path = tmp_path / "results.json"
    path.write_text(to_json([result_of(spoiled, measured, {}, seed=3)], comparable(collection), {}))
    (found,) = from_json(path, comparable(collection))
    assert found.estimates["frechet"] == Estimate(math.inf, math.inf, math.inf)
    assert math.isnan(found.estimates["recall"].value)
    assert found.failed == 80
