"""``python -m guidegym.train_agent``: from a fresh agent to a file that plain sampling replays."""

import json
from pathlib import Path

import numpy as np
import pytest

from guidegym import Constant, Guidance, Likelihood
from guidegym.sample import main as sample_main
from guidegym.train_agent import main, parse_pairs

QUICK = ["--steps", "4", "--eval-episodes", "16", "--compare-episodes", "32", "--device", "cpu"]
GROUPS = ["--agent", "group_reinforce", "--agent-kwargs", "groups=4", "rows=4", "--timesteps", "256"]


def test_an_agent_is_trained_compared_replayed_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    Guidance(Likelihood("exact"), Constant(1.0)).save(tmp_path / "mine.json")
    flags = [*QUICK, *GROUPS, "--tuned", str(tmp_path / "mine.json"), "--out", str(out)]
    assert main([*flags, "--tensorboard"]) == 0
    printed = capsys.readouterr().out
    for method in (
        "agent",
        "agent, distilled",
        "constant",
        "greedy",
        "random",
        "unguided",
        str(tmp_path / "mine.json"),
    ):
        assert any(line.startswith(method) for line in printed.splitlines()), method
    assert "distilled, the agent loses" in printed
    assert f"--guidance {out / 'agent.json'} --testbed gaussians --sampler ddim --steps 4 --eta 0" in printed
    assert list((out / "tensorboard").iterdir())
    content = json.loads((out / "comparison.json").read_text())
    cost = {one["method"]: one["network_evaluations_per_sample"] for one in content["methods"]}
    assert cost["unguided"] == 4
    assert cost[str(tmp_path / "mine.json")] == 3 * 4
    assert cost["agent"] == 4 * 4  # it looks at the clean estimate, too
    assert cost["greedy"] == (4 + 9) * 4  # and at nine candidates
    samples = [
        "--guidance",
        str(out / "agent.json"),
        "--testbed",
        "gaussians",
        "--num",
        "4",
        "--steps",
        "4",
        "--eta",
        "0",
    ]
    assert sample_main([*samples, "--out", str(tmp_path / "samples")]) == 0
    assert main(flags) == 2
    assert "holds a run; `--resume` goes on with it" in capsys.readouterr().err
    assert main([*flags, "--resume", "--timesteps", "512"]) == 0
    assert "learned from 512 rows stepped" in capsys.readouterr().out
    assert (out / "progress.csv").read_text().splitlines()[-1].startswith("512,")


def test_progressive_guidance_is_learned_and_compared(tmp_path: Path) -> None:
    flags = ["--env", "guidegym/ProgressiveGuidance-v0", *QUICK, *GROUPS, "--out", str(tmp_path)]
    assert main(flags) == 0
    names = [one["method"] for one in json.loads((tmp_path / "comparison.json").read_text())["methods"]]
    assert len(names) == 6
    policy = Guidance.load(tmp_path / "agent.json").policy
    assert policy is not None
    assert policy.scale.size == 2


WRONG = {
    "unknown agent": (["--agent", "nobody"], "unknown agent 'nobody'; shipped are ars"),
    "no learner": (["--agent", "random"], "agent 'random' does not learn; those that do are ars"),
    "unknown setting": (["--agent", "ppo", "--agent-kwargs", "speed=3"], "agent 'ppo' allows the settings num_envs"),
    "unknown env": (["--agent", "ppo", "--env", "CartPole-v1"], "`--env` must be of guidegym/GuidanceWeight-v0"),
    "unknown testbed": (["--agent", "ppo", "--testbed", "moon"], "unknown testbed 'moon'"),
    "unknown reward": (["--agent", "ppo", "--reward", "beauty"], "`--reward` must be of confidence"),
    "no pair": (["--agent", "ppo", "--env-kwargs", "8"], "`--env-kwargs` must be NAME=VALUE, got '8'"),
    "pair twice": (["--agent", "ppo", "--env-kwargs", "a=1", "a=2"], "`--env-kwargs` has `a` twice"),
    "own flag": (["--agent", "ppo", "--env-kwargs", "num_steps=3"], "`--env-kwargs` may not set num_steps"),
    "unknown argument": (["--agent", "ppo", "--env-kwargs", "gravity=3"], "the environment does not allow gravity"),
    "no timesteps": (["--agent", "ppo", "--timesteps", "0"], "`--timesteps` must be >= 1, got 0"),
    "no evaluation": (["--agent", "ppo", "--eval-episodes", "0"], "`--eval-episodes` must be >= 1, got 0"),
    "one episode": (["--agent", "ppo", "--compare-episodes", "1"], "`--compare-episodes` must be >= 2, got 1"),
    "negative seed": (["--agent", "ppo", "--seed", "-1"], "`--seed` must be in 0..2**31 - 1, got -1"),
    "no file": (["--agent", "ppo", "--tuned", "none.json"], "none.json cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_exit_code_two(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = WRONG[name]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_without_an_agent_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "those that learn are ars, group_reinforce, ppo, sac" in capsys.readouterr().err
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ars", "group_reinforce", "ppo", "sac"]


def test_pairs_are_json_or_text() -> None:
    assert parse_pairs(['a={"b": 1}', "c=0.5", "d=ddpm"], "--x") == {"a": {"b": 1}, "c": 0.5, "d": "ddpm"}


OWN_AGENT = """
from guidegym.agents.group_reinforce import learner as shipped

def learner(arguments, *, timesteps, seed, rows=4):
    return shipped(arguments, timesteps=timesteps, seed=seed, groups=2, rows=rows)
"""


def test_a_users_own_agent_is_trained(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_AGENT)
    flags = ["--agent", str(tmp_path / "mine.py"), "--timesteps", "32", *QUICK, "--out", str(tmp_path / "run")]
    assert main(flags) == 0
    assert np.isfinite(float((tmp_path / "run" / "progress.csv").read_text().splitlines()[-1].split(",")[1]))
