"""A kill, an interrupt or a stop at any point loses nothing and changes nothing."""

import os
import signal
import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from short_search import ROOT, SHORT, command, finished_trials, wait_for

from guidegym import Guidance
from guidegym.tune import main

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.slow
def test_a_kill_loses_no_finished_trial_and_leaves_none_running(tmp_path: Path) -> None:
    flags = ("--trials", "18", "--seed", "1", "--batch-trials", "3", "--samples", "40", "--steps", "15")
    endless = [*flags, "--trials", "4000"]
    process = subprocess.Popen(
        command(tmp_path / "killed", *endless), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    wait_for(6, tmp_path / "killed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {trial.number: (trial.params, trial.values) for trial in finished_trials(tmp_path / "killed")}
    assert 6 <= len(before) < 18
    assert main([*SHORT, *flags, "--out", str(tmp_path / "killed")]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'killed' / 'study.db'}")
    after = {trial.number: (trial.params, trial.values) for trial in finished_trials(tmp_path / "killed")}
    assert len(after) == 18
    assert before.items() <= after.items()
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    # What a stop must not change: the resumed search is the one that was not stopped.
    assert main([*SHORT, *flags, "--out", str(tmp_path / "whole")]) == 0
    assert (tmp_path / "whole" / "best.json").read_bytes() == (tmp_path / "killed" / "best.json").read_bytes()
    whole = [(trial.params, trial.values) for trial in finished_trials(tmp_path / "whole")]
    assert whole == list(after.values())


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_with_what_there_is_and_the_same_command_goes_on(tmp_path: Path) -> None:
    flags = ("--trials", "16", "--samples", "60", "--steps", "20")
    process = subprocess.Popen(
        command(tmp_path, *flags, "--trials", "4000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_for(6, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues from there" in errors
    assert "Traceback" not in errors
    assert Guidance.load(tmp_path / "best.json") is not None
    assert "Interrupted before the confirmation" in (tmp_path / "report.html").read_text()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    assert main([*SHORT, *flags, "--out", str(tmp_path)]) == 0
    assert len(finished_trials(tmp_path)) == 16


def test_an_interrupt_never_replaces_confirmed_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guidegym.search import trials as loop

    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path)]) == 0
    names = ("best.json", "results.json", "report.html")
    before = [(tmp_path / name).read_bytes() for name in names]

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "tell", stop)
    assert main([*SHORT, "--trials", "12", "--out", str(tmp_path)]) == 130
    assert [(tmp_path / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("optimizer", "batch", "told"), [("tpe", 0, 1), ("tpe", 3, 0), ("tpe", 3, 2), ("gp", 4, 1), ("random", 1, 2)]
)
def test_a_stop_at_any_point_of_any_batch_does_not_change_the_search(
    optimizer: str, batch: int, told: int, tmp_path: Path
) -> None:
    """Stop right after ``told`` trials of a batch were told, or before the first, and go on."""
    from guidegym.search import trials as loop

    flags = ["--trials", "14", "--batch-trials", "3", "--seed", "2", "--optimizer", optimizer]
    assert main([*SHORT, *flags, "--out", str(tmp_path / "whole")]) == 0
    finished = batch * 3 + told
    seen = 0

    def stop(*arguments: object) -> None:
        nonlocal seen
        if seen == finished:
            raise KeyboardInterrupt
        seen += 1
        original(*arguments)  # type: ignore[arg-type]

    original = loop.tell
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "tell", stop)
        assert main([*SHORT, *flags, "--out", str(tmp_path / "stopped")]) == 130
    assert main([*SHORT, *flags, "--out", str(tmp_path / "stopped")]) == 0
    runs = [[(trial.params, trial.values) for trial in finished_trials(tmp_path / run)] for run in ("whole", "stopped")]
    assert runs[0] == runs[1]
