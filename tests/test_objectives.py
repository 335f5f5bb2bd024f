"""Objectives: one thing that searches optimise, environments reward and tables report."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from guidegym.agents.constant import ConstantAgent
from torch import Tensor

from guidegym import DDIM, Constant, Guidance, GuideGymError, Likelihood, Testbed, load_testbed, sample
from guidegym.envs import make_task
from guidegym.envs.play import draw_episodes, play
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metrics import METRICS, values_of
from guidegym.evaluation.measuring.sample_set import look
from guidegym.evaluation.measuring.set_objectives import METRIC_OF, set_of
from guidegym.objectives import Finished, Objective, find_objective
from guidegym.registry import registered
from guidegym.search import Scorer
from guidegym.tune import main

METHOD = Method("likelihood", Guidance(Likelihood("exact"), Constant(1.0)), DDIM(6))


@pytest.fixture(scope="module")
def testbed() -> Testbed:
    return load_testbed("gaussians")


@pytest.fixture(scope="module")
def finished(testbed: Testbed) -> Finished:
    labels = torch.arange(40) % 2
    x = sample(testbed, METHOD.guidance, labels=labels, sampler=METHOD.sampler).x
    return Finished(x, labels, testbed, METHOD.guidance.guide)


def test_every_metric_of_sample_sets_is_an_objective_of_the_same_value(testbed: Testbed, finished: Finished) -> None:
    known = registered("objective")
    assert METRIC_OF.keys() <= known.keys()
    assert {*METRIC_OF.values(), "accuracy", "energy_divergence"} == METRICS.keys()
    samples = sample(testbed, METHOD.guidance, labels=finished.labels, sampler=METHOD.sampler)
    own = look(METHOD, samples, testbed, judge_extractor(testbed), energy="exact")
    wanted = values_of(own, testbed.references, list(METRICS))
    for name, metric in METRIC_OF.items():
        if metric in wanted:
            assert float(known[name](finished)) == pytest.approx(wanted[metric]), name
    for name in ("accuracy", "energy_divergence"):
        assert float(known[name](finished).double().mean()) == pytest.approx(wanted[name]), name


def test_the_order_of_the_samples_and_a_surplus_do_not_move_a_number_of_the_set(finished: Finished) -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = Finished(finished.x[order], finished.labels[order], finished.testbed)
    x, labels = torch.cat([finished.x, finished.x[:1] + 9]), torch.cat([finished.labels, torch.tensor([0])])
    surplus = Finished(x, labels, finished.testbed)
    for name in ("kid", "frechet", "recall"):
        value = float(find_objective(name)(finished))
        assert float(find_objective(name)(shuffled)) == pytest.approx(value)
        assert float(find_objective(name)(surplus)) == pytest.approx(value)


def test_a_set_of_one_class_is_measured_against_that_class(finished: Finished) -> None:
    first = finished.rows((finished.labels == 0).nonzero()[:, 0])
    own, references = set_of(first)
    assert own.num_classes == 1
    torch.testing.assert_close(references.features, finished.testbed.references.features[:1])


def test_kid_is_rewarded_by_what_each_sample_does_to_it(finished: Finished) -> None:
    rewards = find_objective("kid").reward(finished)
    torch.testing.assert_close(rewards, find_objective("kid_witness").reward(finished))
    assert float(rewards.mean()) == pytest.approx(-float(find_objective("kid")(finished)), abs=1e-5)


def test_too_few_samples_for_a_number_of_the_set_get_one_line(finished: Finished) -> None:
    with pytest.raises(GuideGymError, match="objective 'recall' needs at least 6 samples per class in a set, got 1"):
        find_objective("recall")(finished.rows(torch.arange(2)))


def _left(finished: Finished) -> Tensor:
    """How far to the left each sample is."""
    return -finished.x[:, 0]


def test_an_environment_rewards_a_function_of_ones_own() -> None:
    task = make_task(num_steps=2, reward=_left, observation="features")
    played = play(task, ConstantAgent(1.0), *draw_episodes(task, 6, seed=0))
    torch.testing.assert_close(played.total, -played.state.x[:, 0])
    env = gym.make_vec("guidegym/GuidanceWeight-v0", num_envs=4, num_steps=2, reward=_left, observation="features")
    env.reset(seed=0)
    env.step(np.zeros((4, 1), dtype=np.float32))
    _, rewards, ended, _, _ = env.step(np.zeros((4, 1), dtype=np.float32))
    assert ended.all()
    assert np.isfinite(rewards).all()
    assert len(set(rewards.tolist())) == 4


def test_rewards_stay_within_the_floor_and_failed_numbers_are_at_it(finished: Finished) -> None:
    wild = torch.tensor([float("nan"), float("inf"), -float("inf"), 3.0])
    part = finished.rows(torch.arange(4))
    more = Objective("more", lambda samples: wild, "maximize", -5.0)
    assert more.reward(part).tolist() == [-5.0, 5.0, -5.0, 3.0]
    less = Objective("less", lambda samples: wild, "minimize", 5.0)
    assert less.reward(part).tolist() == [-5.0, -5.0, 5.0, -3.0]
    assert Objective("unsaid", lambda samples: wild).reward(part).tolist() == [-1000.0, 1000.0, -1000.0, 3.0]


def test_a_function_of_the_wrong_shape_gets_one_line(finished: Finished, unchecked: None) -> None:
    wrong = Objective("wrong", lambda samples: samples.x)
    with pytest.raises(
        GuideGymError, match=r"objective 'wrong' must return a number, or one for each of 40 samples, got"
    ):
        wrong(finished)
    with pytest.raises(GuideGymError, match="`direction` must be 'maximize' or 'minimize', got 'up'"):
        Objective("wrong", _left, "up")  # type: ignore[arg-type]


def test_a_search_goes_by_objectives_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        '"""An objective."""\n\nimport guidegym as gg\n\n\ndef left(finished):\n    """How far to the left."""\n'
        "    return -finished.x[:, 0]\n\n\n"
        'spread = gg.Objective("spread", lambda finished: finished.x.std(), "maximize", 0.0, title="spread of all")\n'
    )

    def run(objectives: str) -> int:
        short = "--study sigmoid_schedule --testbed gaussians --steps 4 --samples 4 --trials 10 --confirm-samples 4"
        return main([*short.split(), "--objectives", objectives, "--out", str(tmp_path / "run")])

    mine = f"{tmp_path / 'mine.py'}"
    assert run(f"{mine}:left,recall") == 2
    assert "`--objectives` have 'recall', which needs at least 6 samples per class, got 4" in capsys.readouterr().err
    code = run(f"{mine}:left,{mine}:spread")
    said = capsys.readouterr()
    assert code == 0
    heading = next(line for line in said.out.splitlines() if "delta to best" in line)
    assert heading.split("delta to best")[0].split() == ["method", "left"]
    assert "spread of all" in heading
    assert "KID" in heading


def test_scores_of_ones_own_are_the_mean_over_samples(testbed: Testbed) -> None:
    (scored,) = Scorer(testbed, seed=0, samples_per_class=8).measure([METHOD])
    left = find_objective(_left)
    assert left.name == "_left"
    assert scored.score(left) == pytest.approx(float(-scored.own.shown[:, 0].double().mean()))
    measured = scored.measure(left, resamples=50, seed=0)
    assert measured.estimate.low < measured.value < measured.estimate.high
