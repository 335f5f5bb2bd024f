"""Every shipped learner: it can be saved between any two batches, and its policy acts as it does itself."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guidegym import Guidance, GuideGymError, sample
from guidegym.envs import Task, make_task
from guidegym.envs.play import draw_episodes, follow, play
from guidegym.learning import Learner, LearnSettings, learn, load_learner
from guidegym.learning.stable_baselines import SB3Learner
from guidegym.registry import registered

ARGUMENTS: dict[str, Any] = {"observation": "features", "num_steps": 5, "max_weight": 4.0, "reward": "kid_witness"}
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"num_envs": 8},
    "sac": {"num_envs": 8, "gradient_steps": 3, "batch_size": 16, "warmup": 1},
    "ars": {"num_envs": 8, "directions": 2, "best": 1},
    "group_reinforce": {"groups": 4, "rows": 4},
}


def _learner(name: str, **settings: Any) -> Learner:
    return load_learner(name, ARGUMENTS, timesteps=2000, seed=3, settings={**SMALL[name], **settings})


def test_all_that_learn_are_shipped() -> None:
    assert list(registered("agent")) == sorted(SMALL)


def test_our_own_learner_goes_on_as_if_it_had_not_been_saved() -> None:
    learner = _learner("group_reinforce")
    for _ in range(3):
        learner.improve()
    buffer = io.BytesIO()
    torch.save(learner.state_dict(), buffer)
    buffer.seek(0)
    before = learner.timesteps
    further = [learner.improve() for _ in range(2)]
    assert learner.timesteps > before
    resumed = _learner("group_reinforce")
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert resumed.timesteps == before
    assert [resumed.improve() for _ in range(2)] == pytest.approx(further, rel=1e-6)
    assert resumed.policy() == learner.policy()


@pytest.mark.parametrize("name", ["ppo", "sac", "ars"])
def test_a_resumed_learner_of_the_library_has_its_policy_and_goes_on_alike_each_time(name: str) -> None:
    learner = _learner(name)
    for _ in range(3):
        learner.improve()
    buffer = io.BytesIO()
    torch.save(learner.state_dict(), buffer)
    further = []
    for _ in range(2):
        resumed = _learner(name)
        buffer.seek(0)
        resumed.load_state_dict(torch.load(buffer, weights_only=True))
        assert resumed.timesteps == learner.timesteps
        assert resumed.policy() == learner.policy()
        further.append([resumed.improve() for _ in range(3)])
        assert resumed.timesteps > learner.timesteps
    assert further[0] == pytest.approx(further[1], rel=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_learn_the_same_and_others_do_not(name: str) -> None:
    first, again = _learner(name), _learner(name)
    other = load_learner(name, ARGUMENTS, timesteps=2000, seed=4, settings=SMALL[name])
    for learner in (first, again, other):
        for _ in range(2):
            learner.improve()
    assert first.policy() == again.policy()
    assert first.policy() != other.policy()


@pytest.mark.parametrize("name", ["ppo", "sac", "ars"])
def test_an_exported_policy_acts_as_the_model_does(name: str) -> None:
    learner = _learner(name)
    assert isinstance(learner, SB3Learner)
    for _ in range(3):
        learner.improve()
    learner.env.training = False  # its moments stay as they are
    seen = learner.env.reset()
    wanted, _ = learner.model.predict(seen, deterministic=True)
    got = learner.policy()(torch.from_numpy(np.asarray(learner.env.get_original_obs())))
    np.testing.assert_allclose(got.numpy(), np.clip(wanted, -1, 1), rtol=1e-4, atol=1e-5)


def test_wrong_agents_and_settings_are_refused() -> None:
    for name, settings, message in (
        ("nobody", {}, "unknown agent 'nobody'; known: ars, beam_search, constant"),
        ("greedy", {}, "agent 'greedy' has no function `learner`"),
        ("ppo", {"speed": 1}, "agent 'ppo' takes num_envs, .*; got 'speed'"),
        ("group_reinforce", {"rows": 1}, "`rows` must be >= 2, got 1"),
        ("group_reinforce", {"spread": 0.0}, "`spread` must be > 0, got 0.0"),
    ):
        with pytest.raises(GuideGymError, match=message):
            load_learner(name, ARGUMENTS, timesteps=100, seed=0, settings=settings)
    with pytest.raises(GuideGymError, match="`timesteps` must be >= 1, got 0"):
        load_learner("ppo", ARGUMENTS, timesteps=0, seed=0)
    for name in SMALL:
        with pytest.raises(GuideGymError, match="must have observation 'features', got 'sample'"):
            load_learner(name, {**ARGUMENTS, "observation": "sample"}, timesteps=100, seed=0)


def _settings(out: Path, **changes: Any) -> LearnSettings:
    given = {"timesteps": 640, "out": out, "eval_every": 200, "eval_episodes": 16, "identity": {"seed": 3}}
    return LearnSettings(**{**given, **changes})


@pytest.mark.parametrize("name", SMALL)
def test_rows_are_counted_as_they_are_stepped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, stepped = _learner(name), 0
    act = Task.act

    def counted(self: Task, live: Any, action: torch.Tensor) -> Any:
        nonlocal stepped
        stepped += len(action)
        return act(self, live, action)

    monkeypatch.setattr(Task, "act", counted)
    for _ in range(2):
        learner.improve()
    assert learner.timesteps == stepped > 0


def test_an_agent_that_steps_nothing_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = _learner("group_reinforce")
    monkeypatch.setattr(type(learner), "improve", lambda self: 0.0)
    with pytest.raises(GuideGymError, match="made no environment step in a batch"):
        learn(learner, make_task(**ARGUMENTS, split="test"), _settings(tmp_path))


def test_a_run_leaves_its_last_and_its_best_policy_which_replay_in_plain_sampling(tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")
    progress = learn(_learner("group_reinforce"), test, _settings(tmp_path))
    assert [steps for steps, _ in progress.evaluations] == [240, 400, 640]
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert lines[0] == "timesteps,held_out_reward"
    assert len(lines) == 4
    labels, seeds = draw_episodes(test, 16, seed=0)
    for name, reward in (("agent.json", progress.evaluations[-1][1]), ("agent-best.json", progress.best)):
        guidance = Guidance.load(tmp_path / name)
        assert guidance.policy is not None
        played = play(test, follow(guidance.policy), labels, seeds)
        assert float(played.total.mean()) == pytest.approx(reward)
        engine = test.engine
        samples = sample(engine.model, guidance, labels=labels, seeds=seeds, sampler=engine.sampler)
        torch.testing.assert_close(samples.x, played.state.x)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")
    whole = learn(_learner("group_reinforce"), test, _settings(tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="a crash"):
        learn(_learner("group_reinforce"), test, _settings(tmp_path / "parts"), on_scalars=_crash_after(400))
    resumed = learn(_learner("group_reinforce"), test, _settings(tmp_path / "parts"), resume=True)
    assert dict(resumed.evaluations) == pytest.approx(dict(whole.evaluations))
    assert Guidance.load(tmp_path / "whole" / "agent.json") == Guidance.load(tmp_path / "parts" / "agent.json")


def _crash_after(timesteps: int) -> Any:
    def note(now: int, scalars: Any) -> None:
        if now > timesteps:
            raise RuntimeError("a crash")

    return note


def test_another_run_is_never_overwritten(tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")
    learn(_learner("group_reinforce"), test, _settings(tmp_path, timesteps=80))
    with pytest.raises(GuideGymError, match="holds a run; `--resume` continues it"):
        learn(_learner("group_reinforce"), test, _settings(tmp_path))
    other = _settings(tmp_path, identity={"seed": 4})
    with pytest.raises(
        GuideGymError, match=r"belongs to another run: seed 3 there, 4 here; remove it or use another --out"
    ):
        learn(_learner("group_reinforce"), test, other, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(GuideGymError, match="is not a readable checkpoint"):
        learn(_learner("group_reinforce"), test, _settings(tmp_path), resume=True)


@pytest.mark.parametrize("name", ["timesteps", "eval_every", "eval_episodes"])
def test_numbers_of_a_run_are_positive(name: str, tmp_path: Path) -> None:
    with pytest.raises(GuideGymError, match=f"`{name}` must be >= 1, got 0"):
        _settings(tmp_path, **{name: 0})


def test_a_damaged_policy_beside_a_sound_checkpoint_is_made_whole(tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")
    learn(_learner("group_reinforce"), test, _settings(tmp_path))
    files = {path.name: path.read_bytes() for path in tmp_path.glob("agent*")}
    assert len(files) == 4
    for name, content in files.items():
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "agent-best.json").unlink()
    learn(_learner("group_reinforce"), test, _settings(tmp_path), resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("agent*")} == files


def test_two_trainings_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")

    def meanwhile(now: int, scalars: Any) -> None:
        with pytest.raises(GuideGymError, match=r"another agent is being trained in .*; use another --out"):
            learn(_learner("group_reinforce"), test, _settings(tmp_path), resume=True)

    learn(_learner("group_reinforce"), test, _settings(tmp_path, timesteps=80), on_scalars=meanwhile)


@pytest.mark.parametrize("name", ["group_reinforce", "ppo"])
@pytest.mark.parametrize(
    "damage",
    [
        {"learner": None},
        {"learner": {}},
        {"learner": []},
        {"identity": "no JSON"},
        {"identity": 7},
        {"evaluations": 3},
        {"evaluations": [["a", "b"]]},
        {"seconds": "long"},
        {"files": {"agent.json": "text"}},
    ],
    ids=str,
)
def test_a_damaged_checkpoint_gets_one_line(name: str, damage: dict[str, Any], tmp_path: Path) -> None:
    test = make_task(**ARGUMENTS, split="test")
    learn(_learner(name), test, _settings(tmp_path, timesteps=80))
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, **damage}, path)
    with pytest.raises(
        GuideGymError, match=r"is (damaged|not a readable checkpoint); remove it to start over"
    ) as caught:
        learn(_learner(name), test, _settings(tmp_path), resume=True)
    assert str(caught.value).isprintable()
