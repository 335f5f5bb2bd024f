"""Whatever a user gives, a command answers with what it did or with one line: no traceback, no silence, no endless wait."""

import importlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import guidegym as gg
from guidegym import DDIM, FileFormatError, Guidance, GuideGymError
from guidegym.core.observation import FEATURES
from guidegym.evaluate import main as evaluate_main
from guidegym.registry import registered
from guidegym.reproduce import main as reproduce_main
from guidegym.testbeds.fashion_data import read_idx
from guidegym.train_agent import main as train_agent_main
from guidegym.train_models import main as train_models_main
from guidegym.tune import main as tune_main

ROOT = Path(__file__).parent.parent
GOOD = [
    Guidance(gg.LookAhead(gg.ClassEnergy("robust"), 3, 0.1), gg.Sigmoid(12.0, 0.1, 650.0, 0.01)),
    Guidance(gg.Likelihood("exact"), gg.Knots((1.0, 2.0, 0.5)), gg.Constant(10.0), gg.Uniform()),
    Guidance(gg.ClassifierFree(), gg.Table((900.0, 100.0), (1.0, 2.0)), base_model=gg.ConditionalDenoiser()),
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        [10**400, -1, 1e308, -1e308, 2**63, "", "\ud800", "\n", "x" * 5000, "constant", [], {}, [[]], {"kind": 3}]
    ),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to all values inside a JSON value."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [at, *(place for key, value in inside for place in _places(value, (*at, key)))]


def _changed(content: Any, at: Sequence[Any], value: Any, how: str) -> Any:
    if not at:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(at) > 1:
        copy[at[0]] = _changed(copy[at[0]], at[1:], value, how)
    elif how == "replace":
        copy[at[0]] = value
    elif how == "remove":
        del copy[at[0]]
    elif isinstance(copy, dict):
        copy["more"] = value
    else:
        copy.append(value)
    return copy


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_malformed_guidance_file_is_refused_in_one_line_or_gives_a_guidance_that_works(data: st.DataObject) -> None:
    content = json.loads(data.draw(st.sampled_from(GOOD)).to_json())
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(_places(content)))
        how = data.draw(st.sampled_from(["replace", "remove", "add"]))
        content = _changed(content, place, data.draw(ODD), how)
    try:
        guidance = Guidance.from_json(json.dumps(content))
    except FileFormatError as error:
        assert str(error).isprintable()
        assert len(str(error)) <= 2000
        return
    assert Guidance.from_json(guidance.to_json()) == guidance
    weights = guidance.weights(DDIM(7), gg.VPProcess())
    assert weights.shape == (7,)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=3), st.sampled_from(GOOD))
def test_a_guidance_file_with_other_bytes_in_it_is_refused_in_one_line(
    place: int, other: bytes, good: Guidance
) -> None:
    text = good.to_json().encode()
    place = min(place, len(text))
    try:
        Guidance.from_json((text[:place] + other + text[place + 1 :]).decode("utf-8", "replace"))
    except FileFormatError as error:
        assert str(error).isprintable()


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "tune": (
        tune_main,
        "study testbed trials samples confirm-samples steps seed sampler eta optimizer objectives batch-trials timeout device "
        "weights",
    ),
    "sample": (
        importlib.import_module("guidegym.sample").main,  # the package has a function of that name
        "guidance testbed num labels seed sampler steps eta sampler-kwargs batch-size device",
    ),
    "evaluate": (
        evaluate_main,
        "guidance classifier per-class metrics scales shards shard rows resamples extractor energy beside",
    ),
    "train_agent": (
        train_agent_main,
        "agent env steps reward env-kwargs agent-kwargs timesteps seed eval-every eval-episodes compare-episodes",
    ),
    "train_models": (train_models_main, "only labels budget jobs seed data"),
    "reproduce": (reproduce_main, "testbed per-class tuning-per-class resamples"),
}
WRONG_BESIDES = {
    "tune": {"--study": "sigmoid_schedule", "--testbed": "nowhere"},
    "sample": {"--testbed": "nowhere"},
    "evaluate": {"--guidance": "unguided", "--testbed": "nowhere"},
    "train_agent": {"--agent": "ars", "--testbed": "nowhere"},
    "train_models": {"--testbed": "digits", "--only": "nothing"},
    "reproduce": {"--testbed": "nowhere"},
}
VALUES = ("", "-1", "0", "1.5", "nan", "inf", "1e400", "9" * 40, "x" * 5000, "a\nb", "\udcff", "$", "{", "[" * 5000,
          '{"kind": 3}', "a=b", "eta=true", "=", "--", "/dev/null", "None", "true")  # fmt: skip


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_wrong_flags_are_one_line_and_exit_code_two(
    data: st.DataObject, capsys: pytest.CaptureFixture[str], tmp_path: Path, unchecked: None
) -> None:
    name = data.draw(st.sampled_from(sorted(COMMANDS)))
    main, flags = COMMANDS[name]
    flag = "--" + data.draw(st.sampled_from(flags.split()))
    given_flags = [flag, data.draw(st.sampled_from(VALUES)), "--out", str(tmp_path / "out")]
    # What else is wrong ends the command where the flag itself is not: nothing is sampled here.
    for other, value in WRONG_BESIDES[name].items():
        given_flags += [other, value] if other != flag else []
    code = main(given_flags)
    said = capsys.readouterr()
    assert code == 2
    assert said.err.strip()
    assert all(len(line) < 2500 for line in said.err.splitlines())
    assert "Traceback" not in said.err


def _run(*command: str, **keywords: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120, **keywords
    )


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--study", "import sys\nsys.exit(0)"),
        ("--study", "import sys\n\ndef study(testbed='gaussians'):\n    sys.exit()"),
        ("--testbed", "import sys\n\ndef testbed(device):\n    sys.exit('enough')"),
    ],
)
def test_a_user_s_file_that_exits_is_an_error_and_not_silence(
    flag: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    flags = {"--study": "sigmoid_schedule", "--testbed": "gaussians", flag: str(path), "--out": str(tmp_path / "out")}
    assert tune_main([part for pair in flags.items() for part in pair]) == 2
    assert f"mine.py:{len(text.splitlines())} called `sys.exit`" in capsys.readouterr().err


def test_an_agent_and_a_claim_that_exit_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(0)")
    assert train_agent_main(["--agent", str(tmp_path / "mine.py"), "--out", str(tmp_path / "out")]) == 2
    assert reproduce_main([str(tmp_path / "mine.py"), "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("mine.py:2 called `sys.exit`") == 2


def test_a_name_that_the_terminal_s_encoding_lacks_is_printed_all_the_same(tmp_path: Path) -> None:
    text = """
        import dataclasses
        from guidegym import Constant, Guidance, Likelihood
        from guidegym.search import Baseline
        from guidegym.studies import sigmoid_schedule

        def study(testbed="gaussians"):
            baseline = Baseline("naïve 名", Guidance(Likelihood("exact"), Constant(1.0)))
            return dataclasses.replace(sigmoid_schedule.study(testbed), baselines=(baseline,), num_trials=1)
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(text))
    sizes = ["--steps", "2", "--samples", "2", "--confirm-samples", "2", "--testbed", "gaussians"]
    flags = ["--study", str(tmp_path / "mine.py"), *sizes, "--out", str(tmp_path / "out")]
    done = _run("guidegym.tune", *flags, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert r"na\xefve \u540d" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_cannot_be_written_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "guidegym.tune", "--list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x00\x08\x02" + (2**31).to_bytes(4, "big") * 2,
        b"\x00\x00\x08\xff",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x03" + (28).to_bytes(4, "big"),
        b"",
    ],
)
def test_idx_files_with_absurd_headers_get_one_line(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(header)
    with pytest.raises(FileFormatError, match=r"is (truncated|not an idx file)"):
        read_idx(tmp_path / "images")


def test_a_pipe_in_place_of_a_policy_file_is_not_waited_for(tmp_path: Path) -> None:
    policy = gg.Policy(
        weights=(torch.zeros(1, 10),),
        biases=(torch.zeros(1),),
        shift=torch.zeros(10),
        spread=torch.ones(10),
        features=FEATURES,
        scale=gg.ActionScale(4.0),
        activation="tanh",
        squash="clip",
    )
    Guidance(gg.Likelihood("exact"), policy=policy).save(tmp_path / "learned.json")
    content = json.loads((tmp_path / "learned.json").read_text())
    for name in ("pipe", "\ud800.st", "", ".", "..", "a" * 5000):
        if name == "pipe":
            os.mkfifo(tmp_path / name)
        content["policy"]["file"] = name
        (tmp_path / "learned.json").write_text(json.dumps(content))
        with pytest.raises(FileFormatError, match="policy") as caught:
            Guidance.load(tmp_path / "learned.json")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("weights", [(1e308, -1e308, 1e308), (1e101, 0.0)])
def test_curves_that_leave_double_precision_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(GuideGymError, match=r"`weights` must be"):
        gg.Knots(weights)
    for timesteps in ((1001.0, 5.0), (500.0, -2.0), (1e308, 0.0)):
        with pytest.raises(GuideGymError, match="`timesteps` must be >= -1 and <= 1000"):
            gg.Table(timesteps, (1.0, 2.0))


def test_there_is_a_schedule_of_every_kind_among_what_is_changed() -> None:
    assert {type(one.weight) for one in GOOD} <= set(registered("schedule").values())
