"""A learned policy is tensors and JSON: it is saved, loaded and replayed in plain sampling, and nothing is unpickled."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from guidegym import (
    DDIM,
    ActionScale,
    Constant,
    FileFormatError,
    Guidance,
    GuideGymError,
    Likelihood,
    Policy,
    Testbed,
    Uniform,
    sample,
)
from guidegym.core.observation import FEATURES
from guidegym.envs import make_task
from guidegym.envs.play import draw_episodes, play
from guidegym.guidance import make_target
from guidegym.learning.distillation import distill

SIZE = len(FEATURES)


def _policy(bias: float = 0.0, *, max_rate: float | None = None, seed: int = 0) -> Policy:
    generator = torch.Generator().manual_seed(seed)
    size = 1 if max_rate is None else 2
    return Policy(
        weights=(torch.randn(6, SIZE, generator=generator), torch.randn(size, 6, generator=generator)),
        biases=(torch.zeros(6), torch.full((size,), bias)),
        shift=torch.zeros(SIZE),
        spread=torch.ones(SIZE),
        features=FEATURES,
        scale=ActionScale(4.0, max_rate),
    )


@pytest.mark.parametrize("max_rate", [None, 20.0])
def test_a_policy_file_round_trips_and_samples_as_the_environment_does(tmp_path: Path, max_rate: float | None) -> None:
    policy = _policy(max_rate=max_rate)
    target = "one_hot" if max_rate is None else "uniform"
    guidance = Guidance(Likelihood("exact"), policy=policy, target=make_target(target))
    guidance.save(tmp_path / "learned.json")
    assert {path.name for path in tmp_path.iterdir()} == {"learned.json", "learned.safetensors"}
    loaded = Guidance.load(tmp_path / "learned.json")
    assert loaded == guidance
    assert hash(loaded.policy) == hash(policy)
    task = make_task(observation="features", num_steps=6, max_weight=4.0, max_rate=max_rate, target=target)
    labels, seeds = draw_episodes(task, 9, seed=1)
    played = play(task, lambda task, live: policy(task.features(live)), labels, seeds)
    samples = sample(task.engine.model, loaded, labels=labels, seeds=seeds, sampler=DDIM(6), batch_size=4)
    torch.testing.assert_close(samples.x, played.state.x, rtol=1e-4, atol=1e-5)
    assert samples.cost == played.state.cost
    assert samples.cost.total == 9 * 6 * 4


def test_a_policy_that_ignores_what_it_sees_is_a_constant(exact: Testbed) -> None:
    policy = dataclasses.replace(_policy(bias=-0.5), weights=(torch.zeros(6, SIZE), torch.zeros(1, 6)))
    learned = sample(exact, Guidance(Likelihood("exact"), policy=policy), labels=[0, 1, 1], sampler=DDIM(5))
    constant = sample(exact, Guidance(Likelihood("exact"), Constant(1.0)), labels=[0, 1, 1], sampler=DDIM(5))
    torch.testing.assert_close(learned.x, constant.x, rtol=1e-6, atol=1e-6)


def test_a_policy_of_other_features_is_refused(exact: Testbed) -> None:
    other = dataclasses.replace(_policy(), features=("temperature", *FEATURES[1:]))
    with pytest.raises(GuideGymError, match="the policy was trained on temperature"):
        sample(exact, Guidance(Likelihood("exact"), policy=other), labels=[0], sampler=DDIM(2))


def test_layers_that_do_not_fit_and_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(GuideGymError, match="must be layers consistent with each other"):
        dataclasses.replace(_policy(), biases=(torch.zeros(6), torch.zeros(6)))
    with pytest.raises(GuideGymError, match="must be finite, and `spread` > 0"):
        dataclasses.replace(_policy(), spread=torch.zeros(SIZE))
    with pytest.raises(GuideGymError, match="`activation` must be one of tanh, relu"):
        dataclasses.replace(_policy(), activation="sine")
    with pytest.raises(GuideGymError, match="`max_weight` must be > 0 and finite, got -1"):
        ActionScale(-1.0)
    with pytest.raises(GuideGymError, match="a `policy` needs a `guide`"):
        Guidance(policy=_policy())


def test_damaged_policy_files_get_one_clear_line(tmp_path: Path) -> None:
    path, tensors = tmp_path / "learned.json", tmp_path / "learned.safetensors"
    guidance = Guidance(Likelihood("exact"), policy=_policy())
    guidance.save(path)
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-9])
    with pytest.raises(FileFormatError, match="is not a readable safetensors file"):
        Guidance.load(path)
    tensors.unlink()
    with pytest.raises(FileFormatError, match="is not a readable safetensors file"):
        Guidance.load(path)
    Guidance(Likelihood("exact"), policy=_policy(seed=5)).save(tmp_path / "other.json")
    tensors.write_bytes((tmp_path / "other.safetensors").read_bytes())
    with pytest.raises(FileFormatError, match=r"is not the file that was written with"):
        Guidance.load(path)
    tensors.write_bytes(whole)
    content = json.loads(path.read_text())
    for change, message in (
        ({"file": "../x.safetensors"}, "must be the name of a file in the same folder"),
        ({"layers": 3}, "must contain the tensors"),
        ({"layers": True}, "`layers` must be in 1..64"),
        ({"kind": "forest"}, "must be an object of kind 'perceptron'"),
        ({"max_weight": "4"}, "must be numbers"),
    ):
        path.write_text(json.dumps({**content, "policy": {**content["policy"], **change}}))
        with pytest.raises(FileFormatError, match=message):
            Guidance.load(path)


def test_a_distilled_policy_has_its_mean_weight_at_each_step() -> None:
    task = make_task(observation="features", num_steps=6, max_weight=4.0, max_rate=20.0, target="uniform")
    guidance = Guidance(Likelihood("exact"), policy=_policy(max_rate=20.0), target=Uniform())
    labels, seeds = draw_episodes(task, 50, seed=1)
    testbed, sampler = task.engine.model, DDIM(6)
    open_loop = distill(testbed, guidance, labels=labels, seeds=seeds, sampler=sampler)
    assert open_loop.policy is None
    assert open_loop.target == Uniform()
    assert Guidance.from_json(open_loop.to_json()) == open_loop
    played = play(task, lambda task, live: _policy(max_rate=20.0)(task.features(live)), labels, seeds)
    weight, rate = zip(*(task.scale.physical(step) for step in played.actions), strict=True)
    wanted = torch.stack(weight).double().mean(dim=1)
    torch.testing.assert_close(open_loop.weights(sampler, testbed.process), wanted, rtol=1e-4, atol=1e-4)
    rates = open_loop.rates(sampler, testbed.process)
    assert rates is not None
    torch.testing.assert_close(rates, torch.stack(list(rate)).double().mean(dim=1), rtol=1e-4, atol=1e-4)
    with pytest.raises(GuideGymError, match="must have a policy to distill"):
        distill(testbed, open_loop, labels=labels, seeds=seeds, sampler=sampler)
