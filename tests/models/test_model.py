"""A model without a judge is enough to sample, guide and train agents with a reward of one's own."""

import re
from pathlib import Path

import gymnasium as gym
import pytest
import torch

from guidegym import (
    DDIM,
    Constant,
    Finished,
    Guidance,
    GuideGymError,
    Likelihood,
    Model,
    Testbed,
    load_model,
    load_testbed,
    sample,
)
from guidegym.envs import make_task
from guidegym.learning import load_learner
from guidegym.sample import main as sample_main
from guidegym.train_agent import main as train_agent_main

GAUSSIANS = load_testbed("gaussians")
MODEL = Model(
    process=GAUSSIANS.process,
    denoiser=GAUSSIANS.denoiser,
    classifiers=GAUSSIANS.classifiers,
    class_names=("first", "second"),
    event_shape=(2,),
)
FILE = """
from guidegym import Model, load_testbed


def testbed(device):
    whole = load_testbed("gaussians")
    return Model(
        process=whole.process,
        denoiser=whole.denoiser,
        classifiers=whole.classifiers,
        class_names=("first", "second"),
        event_shape=(2,),
        name="bare",
    )


def leftness(finished):
    return -finished.x[:, 0]
"""


def leftness(finished: Finished) -> torch.Tensor:
    return -finished.x[:, 0]


def test_samples_of_a_model_are_those_of_the_testbed_that_measures_it() -> None:
    assert isinstance(GAUSSIANS, Model)
    guidance = Guidance(Likelihood("exact"), Constant(2.0))
    bare, whole = (sample(one, guidance, labels=[0, 1, 1], sampler=DDIM(8)) for one in (MODEL, GAUSSIANS))
    torch.testing.assert_close(bare.x, whole.x, rtol=0, atol=0)
    assert bare.cost == whole.cost


def test_an_agent_learns_in_it_from_a_reward_of_ones_own() -> None:
    arguments = {"testbed": MODEL, "reward": leftness, "num_steps": 4, "observation": "features"}
    learner = load_learner("group_reinforce", arguments, timesteps=20_000, seed=0, settings={"groups": 16})
    first = learner.improve()
    for _ in range(30):
        last = learner.improve()
    assert last > first + 0.05


def test_it_is_rendered_without_what_a_judge_would_say() -> None:
    env = gym.make("guidegym/GuidanceWeight-v0", testbed=MODEL, reward=leftness, num_steps=3, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    judged = gym.make("guidegym/GuidanceWeight-v0", num_steps=3, render_mode="rgb_array")
    judged.reset(seed=0)
    shown, wider = env.render(), judged.render()
    assert shown is not None
    assert wider is not None
    assert shown.shape[1] < wider.shape[1]  # type: ignore[union-attr]


def test_what_needs_a_judge_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(GuideGymError, match="model 'model' has no judge and no references: pass your own objective"):
        Finished(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), MODEL).seen  # noqa: B018
    with pytest.raises(GuideGymError, match="`guide` is required: model 'model' has no classifier"):
        make_task(testbed=Model(process=MODEL.process, denoiser=MODEL.denoiser, class_names=("a",), event_shape=(2,)))
    file = tmp_path / "bare.py"
    file.write_text(FILE)
    assert not isinstance(load_model(str(file)), Testbed)
    with pytest.raises(GuideGymError, match=r"bare.py' is a Model without a judge: measuring samples needs"):
        load_testbed(str(file))


@pytest.mark.slow
def test_commands_take_a_file_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "bare.py", tmp_path / "agent"
    file.write_text(FILE)
    trained = ["--agent", "group_reinforce", "--testbed", str(file), "--steps", "4", "--timesteps", "5000"]
    assert (
        train_agent_main([*trained, "--reward", f"{file}:leftness", "--compare-episodes", "40", "--out", str(out)]) == 0
    )
    table = capsys.readouterr().out
    assert "greedy" in table
    assert "accuracy" not in table
    replay = ["--guidance", str(out / "agent.json"), "--testbed", str(file), "--steps", "4", "--eta", "0", "--num", "6"]
    assert sample_main([*replay, "--out", str(tmp_path / "samples")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^6 samples, \d+ network evaluations per sample, 0 failed$", said, re.M)
    assert train_agent_main([*trained, "--out", str(tmp_path / "default")]) == 2
    assert "model 'bare' has no judge and no references" in capsys.readouterr().err
