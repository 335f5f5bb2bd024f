"""Trainings side by side: order, errors, and Ctrl-C."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from guidegym.errors import GuideGymError
from guidegym.networks.weights import read_metadata
from guidegym.support.interrupts import hold_interrupts
from guidegym.train_models import main as train_models
from guidegym.training.side_by_side import side_by_side


def _stamp(name: str) -> str:
    """Say when a piece of work began and ended, and with how many threads."""
    began = time.monotonic()
    time.sleep(0.3)
    if name == "bad":
        raise GuideGymError("this one fails")
    return f"{began} {time.monotonic()} {torch.get_num_threads()} {os.getpid()}"


def test_work_waits_for_what_it_needs_and_runs_beside_what_it_does_not() -> None:
    found = {
        name: said.split()
        for name, said in side_by_side(_stamp, {"a": (), "b": ("a", "elsewhere"), "c": ()}, jobs=2, threads=1)
    }
    assert set(found) == {"a", "b", "c"}
    assert float(found["b"][0]) >= float(found["a"][1])
    assert {said[2] for said in found.values()} == {"1"}
    assert os.getpid() not in {int(said[3]) for said in found.values()}


def test_after_an_error_nothing_new_begins() -> None:
    ended: list[tuple[str, str]] = []
    with pytest.raises(GuideGymError, match="this one fails"):
        ended.extend(side_by_side(_stamp, {"bad": (), "never": (), "neither": ("bad",)}, jobs=1, threads=1))
    assert ended == []


@pytest.mark.slow
def test_networks_trained_side_by_side_are_those_trained_alone(tmp_path: Path) -> None:
    flags = ["--testbed", "digits", "--labels", "20%", "--steps", "60", "--only", "judge_depthwise", "judge"]
    assert train_models([*flags, "--out", str(tmp_path / "beside"), "--jobs", "2"]) == 0
    assert train_models([*flags[:-1], "--out", str(tmp_path / "alone")]) == 0
    beside, alone = (tmp_path / folder / "judge_depthwise-20.safetensors" for folder in ("beside", "alone"))
    assert read_metadata(beside)["training"]["steps"] == read_metadata(alone)["training"]["steps"]
    if torch.get_num_threads() == 1:  # sums in another order differ in the last digit
        assert beside.read_bytes() == alone.read_bytes()


def _until_stopped(name: str, folder: Path) -> str:
    """Work as a training does: until an interrupt, and save then."""
    with hold_interrupts() as interrupted:
        (folder / f"{name}.begun").touch()
        while not interrupted():
            time.sleep(0.02)
        (folder / f"{name}.saved").touch()
        raise KeyboardInterrupt


def test_an_interrupt_reaches_all_that_is_under_way_and_nothing_else_begins(tmp_path: Path) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.glob("*.begun"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=interrupt)
    sender.start()
    work = functools.partial(_until_stopped, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(side_by_side(work, {"a": (), "b": (), "c": ()}, jobs=2, threads=1))
    sender.join()
    assert {path.name for path in tmp_path.iterdir()} == {"a.begun", "a.saved", "b.begun", "b.saved"}


def test_an_interrupt_amid_the_start_of_the_workers_is_not_lost(tmp_path: Path) -> None:
    flags = ["--testbed", "digits", "--only", "denoiser", "conditional", "jem", "--jobs", "2", "--out", str(tmp_path)]
    log = tmp_path / "log"
    with log.open("w") as out:
        command = subprocess.Popen(
            [sys.executable, "-m", "guidegym.train_models", *flags], stdout=out, stderr=subprocess.STDOUT
        )
        while "2 at a time" not in log.read_text() and command.poll() is None:
            time.sleep(0.1)
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=120) == 130
    assert "interrupted" in log.read_text()
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_number_of_jobs_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_models(["--testbed", "digits", "--jobs", "0"]) == 2
    assert "`--jobs` must be a whole number >= 1, got 0" in capsys.readouterr().err


def test_the_list_names_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_models(["--list", "--only", "robust", "dlsm"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["dlsm", "robust"]
    assert train_models(["--list", "--only", "nobody"]) == 2
    assert "no network 'nobody'; known: judge, " in capsys.readouterr().err
