"""``python -m guidegym.train_agent``: from a fresh agent to a file that plain sampling replays."""

import json
from pathlib import Path

import numpy as np
import pytest

from guidegym import Constant, Guidance, GuideGymError, Likelihood
from guidegym.cli.values import parse_pairs
from guidegym.sample import main as sample_main
from guidegym.train_agent import main

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
    assert "the agent is ahead of itself distilled by" in printed
    assert f"--guidance {out / 'agent.json'} --testbed gaussians --steps 4 --eta 0" in printed
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
    assert "holds a run; `--resume` continues it" in capsys.readouterr().err
    assert main([*flags, "--resume", "--timesteps", "512"]) == 0
    assert "trained for 512 environment steps" in capsys.readouterr().out
    assert (out / "progress.csv").read_text().splitlines()[-1].startswith("512,")


def test_progressive_guidance_is_learned_and_compared(tmp_path: Path) -> None:
    flags = ["--env", "guidegym/ProgressiveGuidance-v0", *QUICK, *GROUPS, "--out", str(tmp_path)]
    assert main(flags) == 0
    names = [one["method"] for one in json.loads((tmp_path / "comparison.json").read_text())["methods"]]
    assert len(names) in (6, 7)  # the best held out has a row where it is another policy
    policy = Guidance.load(tmp_path / "agent.json").policy
    assert policy is not None
    assert policy.scale.size == 2


WRONG = {
    "unknown agent": (["--agent", "nobody"], "unknown agent 'nobody'; known: ars"),
    "no learner": (["--agent", "random"], "agent 'random' has no function `learner`"),
    "unknown setting": (["--agent", "ppo", "--agent-kwargs", "speed=3"], "agent 'ppo' takes num_envs"),
    "unknown env": (
        ["--agent", "ppo", "--env", "CartPole-v1"],
        "`--env` must have the entry point guidegym.envs:GuidanceEnv; 'Cart",
    ),
    "unknown testbed": (["--agent", "ppo", "--testbed", "moon"], "unknown testbed 'moon'"),
    "unknown reward": (["--agent", "ppo", "--reward", "beauty"], "unknown objective 'beauty'; known: accuracy"),
    "no pair": (["--agent", "ppo", "--env-kwargs", "8"], "`--env-kwargs` must be NAME=VALUE, got '8'"),
    "pair twice": (["--agent", "ppo", "--env-kwargs", "a=1", "a=2"], "`--env-kwargs` has `a` twice"),
    "own flag": (["--agent", "ppo", "--env-kwargs", "num_steps=3"], "`--env-kwargs` may not set num_steps"),
    "unknown argument": (["--agent", "ppo", "--env-kwargs", "gravity=3"], "got 'gravity'"),
    "no timesteps": (["--agent", "ppo", "--timesteps", "0"], "`--timesteps` must be >= 1, got 0"),
    "no evaluation": (
        ["--agent", "ppo", "--eval-episodes", "0"],
        "`--eval-episodes` must be a whole number in 1..1000000, got 0",
    ),
    "one episode": (
        ["--agent", "ppo", "--compare-episodes", "1"],
        "`--compare-episodes` must be a whole number in 2..1000000, got 1",
    ),
    "negative seed": (["--agent", "ppo", "--seed", "-1"], "`--seed` must be a whole number in 0..2147483647, got -1"),
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
    assert main([]) == 2
    assert "agents that learn: ars, group_reinforce, ppo, sac" in capsys.readouterr().err
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["ars", "group_reinforce", "ppo", "sac"]
    assert "learning_rate=0.05" in lines[1]


def test_pairs_are_json_or_text() -> None:
    assert parse_pairs(['a={"b": 1}', "c=0.5", "d=ddpm"], "--x") == {"a": {"b": 1}, "c": 0.5, "d": "ddpm"}


def test_broken_json_is_refused_and_not_taken_as_text() -> None:
    with pytest.raises(GuideGymError, match=r"`--x groups` is not valid JSON: .*, got '\{bad'"):
        parse_pairs(["groups={bad"], "--x")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--env-kwargs", "sampler=5"], "`sampler` must be a text or an object or Sampler, got 5"),
        (["--env-kwargs", 'sampler={"kind": ["a"]}'], "`sampler` must be of kind annealed_langevin, ddim"),
        (["--env-kwargs", 'sampler={"kind": "ddim", "eta": true}'], "`eta` must be a finite number, got True"),
        (["--env-kwargs", "max_weight=4=5"], "`max_weight` must be a finite number, got '4=5'"),
        (["--env-kwargs", "guide=[1]"], "`guide` must be a text or an object or Guide or null, got [1]"),
        (["--env-kwargs", "evaluation_cost=-1"], "`evaluation_cost` must be >= 0, got -1"),
        (["--env-kwargs", 'target={"kind": "label_smoothing", "share": 0.2}'], "`share` must be in [1 / 2, 1]"),
        (["--env-kwargs", "a=1", "--env-kwargs", "max_weight=2"], "the environment takes"),
        (["--agent-kwargs", "groups=abc"], "`groups` must be a whole number, got 'abc'"),
        (["--agent-kwargs", "groups=true"], "`groups` must be a whole number, got True"),
        (["--agent-kwargs", "learning_rate=0"], "`learning_rate` must be > 0, got 0"),
        (["--agent-kwargs", "learning_rate=NaN"], "`learning_rate` must be a finite number, got nan"),
        (["--agent-kwargs", "start=5"], "`start` must be >= -1 and <= 1, got 5"),
        (["--eval-every", "0"], "`--eval-every` must be >= 1, got 0"),
        (["--reward", '{"beauty": 1}'], "known: accuracy, confidence"),
        (["--tuned", "{missing}", "{missing}"], "`--tuned` names a file twice"),
        (["--tuned", "{other}"], "has no classifier 'robust'; it has exact"),
    ],
)
def test_wrong_settings_get_one_line_before_anything_is_learned(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Guidance(Likelihood("robust"), Constant(1.0)).save(tmp_path / "other.json")
    names = {"missing": str(tmp_path / "missing.json"), "other": str(tmp_path / "other.json")}
    given = [flag.format(**names) if flag in ("{missing}", "{other}") else flag for flag in flags]
    assert main([*QUICK, "--agent", "group_reinforce", "--out", str(tmp_path / "out"), *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("agent", "setting", "message"),
    [
        ("ars", "directions=0", "`directions` must be >= 1, got 0"),
        ("ars", "best=9", "`best` must be >= 1 and <= 8, got 9"),
        ("ars", "spread=0", "`spread` must be > 0, got 0"),
        ("sac", "batch_size=0", "`batch_size` must be >= 1, got 0"),
        ("sac", "warmup=-1", "`warmup` must be >= 1, got -1"),
        ("ppo", "hidden=0", "`hidden` must be >= 1, got 0"),
        ("ppo", "learning_rate=-1", "`learning_rate` must be > 0, got -1"),
        ("ppo", "num_envs=2.5", "`num_envs` must be a whole number, got 2.5"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    agent: str, setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*QUICK, "--agent", agent, "--agent-kwargs", setting, "--out", str(tmp_path / "out")]
    assert main(flags) == 2
    assert message in capsys.readouterr().err


def test_a_mixture_of_rewards_is_trained(tmp_path: Path) -> None:
    flags = ["--agent", "group_reinforce", "--reward", '{"confidence": 1.0, "energy_divergence": 0.1}', *QUICK]
    assert main([*flags, "--timesteps", "32", "--out", str(tmp_path / "run")]) == 0


OWN_AGENT = """
from guidegym.agents.group_reinforce import learner as shipped

def learner(arguments, *, timesteps, seed, **settings):
    return shipped(arguments, timesteps=timesteps, seed=seed, groups=2, **settings)
"""


def test_a_users_own_agent_is_trained(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_AGENT)
    flags = ["--agent", str(tmp_path / "mine.py"), "--timesteps", "32", *QUICK, "--out", str(tmp_path / "run")]
    assert main([*flags, "--agent-kwargs", "rows=4"]) == 0
    assert np.isfinite(float((tmp_path / "run" / "progress.csv").read_text().splitlines()[-1].split(",")[1]))


def test_a_learner_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.py").write_text("def learner(arguments, *, timesteps, seed):\n    return 3\n")
    assert main(["--agent", str(tmp_path / "none.py"), *QUICK, "--out", str(tmp_path / "run")]) == 2
    assert "must return a Learner, got int" in capsys.readouterr().err
