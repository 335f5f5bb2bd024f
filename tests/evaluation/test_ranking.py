"""Paired differences, rankings and their JSON; and the three that measure methods, which agree on the same rows."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guidegym import DDIM, Constant, Guidance, Likelihood, Testbed, agent_comparison, load_testbed, row_seeds
from guidegym.envs import make_task
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.measurement import Measurement, delta
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metrics import measure_set, values_of
from guidegym.evaluation.measuring.ranking import (
    Column,
    Standing,
    delta_to_best,
    headings,
    rank,
    ranked_json,
    ranked_rows,
)
from guidegym.evaluation.sample_sets.collect import Collection, collect, merge
from guidegym.metrics.resampling import Estimate, interval_around, resampling_weights
from guidegym.search import Scorer
from guidegym.search.confirm import confirm

RECORDS = Path(__file__).parents[2] / "benchmarks" / "results"
PER_CLASS = 20
SAMPLER = DDIM(6)
METHODS = {"good": Guidance(Likelihood("exact"), Constant(1.0)), "unguided": Guidance()}


def _rows(num: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of two methods that share most of their noise, and resampling weights."""
    generator = torch.Generator().manual_seed(seed)
    shared, one, other = (torch.randn(num, generator=generator, dtype=torch.float64) for _ in range(3))
    weights = resampling_weights(1, num, resamples=4000, seed=seed)[:, 0]
    return 10 * shared + one + 0.5, 10 * shared + other, weights


@pytest.mark.parametrize("interval", [interval_around, None])
def test_the_paired_interval_of_a_mean_is_that_of_the_mean_of_differences(interval: object) -> None:
    one, other, weights = _rows(400, seed=1)
    how = {} if interval is None else {"interval": interval_around}
    found = delta(Measurement.mean(one, weights), Measurement.mean(other, weights), **how).estimate
    apart = one - other
    half = 1.96 * float(apart.std(correction=0)) / math.sqrt(len(apart))
    assert found.value == pytest.approx(float(apart.mean()))
    assert found.low == pytest.approx(found.value - half, abs=0.08 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.08 * half)
    alone = Measurement.mean(one, weights).estimate
    assert found.high - found.low < 0.2 * (alone.high - alone.low)  # what the two share drops out


def test_a_constant_difference_is_known_exactly() -> None:
    one, _, weights = _rows(50, seed=2)
    found = delta(Measurement.mean((one * 8).round(), weights), Measurement.mean((one * 8).round() - 2, weights))
    assert found.estimate.low == pytest.approx(2.0, abs=1e-12)
    assert found.estimate.high == pytest.approx(2.0, abs=1e-12)
    assert found.p_value < 1e-12


def _standing(name: str, value: float, *, sound: bool = True) -> Standing[None]:
    draws = torch.tensor([value - 1, value, value + 1], dtype=torch.float64)
    return Standing(None, name, {"x": Measurement(value, draws, interval_around(value, draws))}, 4.0, 0, sound)


@pytest.mark.parametrize(("lower", "order"), [(True, ["a", "b", "c", "lucky"]), (False, ["c", "b", "a", "lucky"])])
def test_methods_are_ranked_and_the_delta_to_the_best_is_positive_either_way(lower: bool, order: list[str]) -> None:
    extreme = -10.0 if lower else 10.0
    given = [_standing("lucky", extreme, sound=False), _standing("b", 2.0), _standing("c", 3.5), _standing("a", 1.0)]
    found = rank(given, by="x", lower_is_better=lower)
    assert [one.name for one in found] == order
    assert found[0].delta_to_best.estimate == Estimate(0.0, 0.0, 0.0)
    assert [one.delta_to_best.estimate.value for one in found[:3]] == ([0.0, 1.0, 2.5] if lower else [0.0, 1.5, 2.5])
    columns = (Column("x", "the number"),)
    assert headings(columns) == ["method", "the number", "delta to best", "cost"]
    first, second, *_ = ranked_rows(found, columns)
    assert (first[2], second[2]) == ("", found[1].delta_to_best.estimate.text())
    assert ranked_json(found, columns)[1]["delta_to_best"] == found[1].delta_to_best.to_json()


def test_the_spellings_of_earlier_records_are_read() -> None:
    for name, key in (("sigmoid_schedule-seed0", "behind_best_by"), ("agent-ppo-fashion", "behind_best")):
        for method in json.loads((RECORDS / f"{name}.json").read_text())["methods"]:
            older = method.pop(key)
            numbers = older if isinstance(older, list) else [older["value"], older["low"], older["high"]]
            assert delta_to_best({**method, key: older}) == Estimate(*numbers)
            assert delta_to_best({**method, "delta_to_best": Estimate(*numbers).to_json()}) == Estimate(*numbers)
    lost = Estimate.from_json(Estimate(math.nan, -math.inf, 1.0).to_json(), worst=math.inf)
    assert lost == Estimate(math.inf, math.inf, 1.0)


def test_the_search_the_evaluation_and_the_comparison_of_agents_agree_on_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testbed = load_testbed("gaussians")
    methods = [Method(name, guidance, SAMPLER) for name, guidance in METHODS.items()]
    rows = PER_CLASS * testbed.num_classes
    scorer = Scorer(testbed, seed=5, samples_per_class=PER_CLASS)
    searched = {one.name: one for one in confirm(scorer.measure(methods), seed=0)}

    collection = Collection(testbed, judge_extractor(testbed), PER_CLASS, seed=5, energy=None, folder=tmp_path)
    assert collect(methods, collection) == 0
    sets = {method.name: merge(method, collection) for method in methods}
    names = ["intra_kid", "accuracy"]
    evaluated = {name: measure_set(own, testbed.references, names, resamples=1000) for name, own in sets.items()}

    # The mean reward under the witness of the kernel distance is minus that distance.
    task = make_task(testbed=testbed, num_steps=SAMPLER.num_steps, reward="kid_witness", split="test")
    episodes = (torch.arange(rows) % testbed.num_classes, row_seeds(5, rows))
    monkeypatch.setattr(agent_comparison, "draw_episodes", lambda *_, **__: episodes)
    played = {one.name: one for one in agent_comparison.compare(task, METHODS, num=rows, seed=0)}

    for name in METHODS:
        kid, accuracy = evaluated[name]["intra_kid"], evaluated[name]["accuracy"]
        assert searched[name].numbers["kid"].value == pytest.approx(kid.value, rel=1e-4)
        assert played[name].numbers["reward"].value == pytest.approx(-kid.value, rel=1e-4)
        assert values_of(sets[name], testbed.references, names)["intra_kid"] == pytest.approx(kid.value, rel=1e-12)
        assert searched[name].numbers["accuracy"].estimate == accuracy.estimate
        assert played[name].numbers["accuracy"].value == accuracy.value
        assert searched[name].evaluations == played[name].evaluations == sets[name].evaluations_per_sample
        low, high = (getattr(kid.estimate, end) for end in ("low", "high"))
        assert searched[name].numbers["kid"].estimate.low == pytest.approx(low, rel=1e-4)
        assert searched[name].numbers["kid"].estimate.high == pytest.approx(high, rel=1e-4)
    apart = delta(evaluated["unguided"]["intra_kid"], evaluated["good"]["intra_kid"], interval=interval_around)
    assert next(iter(searched)) == next(iter(played)) == "good"
    assert searched["unguided"].delta_to_best.estimate.value == pytest.approx(apart.estimate.value, rel=1e-4)
    assert searched["unguided"].delta_to_best.estimate.low == pytest.approx(apart.estimate.low, rel=1e-4)
    assert played["unguided"].delta_to_best.estimate.value == pytest.approx(apart.estimate.value, rel=1e-4)


def test_methods_with_failed_samples_come_last_whatever_they_score(exact: Testbed) -> None:
    wild = Method("wild", Guidance(Likelihood("exact"), Constant(1e300)), SAMPLER)
    unguided = Method("unguided", Guidance(), SAMPLER)
    scored = Scorer(exact, seed=0, samples_per_class=4).measure([wild, unguided])
    assert [one.name for one in confirm(scored, seed=0, objectives=("accuracy",))] == ["unguided", "wild"]
