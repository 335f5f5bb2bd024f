"""The storage: its password is nobody's to read, its silence is waited out, and what others put into it is left alone."""

import sqlite3
import threading
import time
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from short_search import SHORT, finished_trials

from guidegym.search import loop, patience, queue
from guidegym.search.address import HIDDEN, without_passwords
from guidegym.tune import main

SECRET = "HUNTER2@x"
ADDRESSES = (
    f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/db",
    f"mysql+pymysql://u:{SECRET}@127.0.0.1:1/db",
    f"nosuch://u:{SECRET}@host/db",
    f"://u:{SECRET}@",
    "postgresql://host/db?user=u&password=HUNTER2",
    "postgresql://host/db?sslpassword=HUNTER2&x=1",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_password_is_in_no_message_and_in_no_file(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path / "run"), "--storage", address]) == 2
    said = capsys.readouterr()
    assert "cannot be opened" in said.err
    assert HIDDEN in said.err
    assert "HUNTER2" not in said.out + said.err
    assert not any(b"HUNTER2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=4, max_size=20),
    st.sampled_from(["cannot connect to {}", "({}) refused", "'{}'", "{}, and again {}"]),
)
def test_any_password_is_hidden_wherever_a_message_quotes_its_address(password: str, said: str) -> None:
    address = f"postgresql://somebody:{password}@host/db"
    hidden = without_passwords(said.replace("{}", address), address)
    assert password not in hidden.replace("somebody", "").replace(HIDDEN, "").replace("postgresql", "")
    assert "host/db" in hidden


def test_addresses_without_a_password_are_shown_as_they_are() -> None:
    for address in ("sqlite:///runs/a/study.db", "postgresql://u@host/db", "journal:x.log"):
        assert without_passwords(f"`--storage` {address!r}", address) == f"`--storage` {address!r}"


def test_a_storage_that_is_locked_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "shared.db"
    flags = [*SHORT, "--out", str(tmp_path / "run"), "--storage", f"sqlite:///{storage}?timeout=0.1"]
    assert main([*flags, "--trials", "6"]) == 0
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.05)
    locked = threading.Event()

    def hold() -> None:
        holder = sqlite3.connect(storage)
        holder.execute("BEGIN EXCLUSIVE")
        locked.set()
        time.sleep(1.0)
        holder.rollback()
        holder.close()

    thread = threading.Thread(target=hold)
    original = loop.tell

    def tell(*arguments: object) -> None:
        if not locked.is_set():
            thread.start()
            locked.wait()
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "tell", tell)
    capsys.readouterr()
    assert main([*flags, "--trials", "9"]) == 0
    thread.join()
    assert "note: the storage does not answer" in capsys.readouterr().err


def test_a_storage_that_stays_silent_ends_in_one_line_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "shared.db"
    flags = [*SHORT, "--trials", "9", "--out", str(tmp_path / "run"), "--storage", f"sqlite:///{storage}?timeout=0.1"]
    holder = sqlite3.connect(storage, check_same_thread=False)
    original, told = loop.tell, 0

    def tell(*arguments: object) -> None:
        nonlocal told
        if told == 7:
            holder.execute("BEGIN EXCLUSIVE")
        told += 1
        original(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "tell", tell)
        patch.setattr(patience, "PATIENCE", 0.5)
        assert main(flags) == 2
    holder.rollback()
    errors = capsys.readouterr().err
    assert "error: the storage has not answered for 0 s" in errors or "error: the storage has not answered" in errors
    assert "Traceback" not in errors
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{storage}")
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 7
    assert main(flags) == 0
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 9
    assert "not answer" not in capsys.readouterr().err


@pytest.mark.parametrize("where", ["before asking", "after queueing"])
def test_trials_have_the_numbers_of_the_unbroken_run_after_a_kill_anywhere(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*SHORT, "--trials", "11", "--batch-trials", "3", "--seed", "2"]
    original, calls = queue.ask, 0

    class KilledError(BaseException):
        """What a kill is to the code: nothing after it runs."""

    def ask(opened: optuna.Study, *arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls in (4, 9):
            if where == "after queueing":
                monkeypatch.setattr(opened, "ask", lambda: (_ for _ in ()).throw(KilledError()))
                original(opened, *arguments, **keywords)  # type: ignore[arg-type]
            raise KilledError
        return original(opened, *arguments, **keywords)  # type: ignore[arg-type]

    assert main([*flags, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "ask", ask)
        patch.setattr(loop, "clear_unfinished", lambda *_: None)  # a kill tells nobody
        for _ in range(2):
            with pytest.raises(KilledError):
                main([*flags, "--out", str(tmp_path / "killed")])
    assert main([*flags, "--out", str(tmp_path / "killed")]) == 0
    whole, killed = (finished_trials(tmp_path / run) for run in ("whole", "killed"))
    assert [queue.trial_name(trial) for trial in killed] == [queue.trial_name(trial) for trial in whole]
    assert [trial.values for trial in killed] == [trial.values for trial in whole]
    pictures = [sorted(path.name for path in (tmp_path / run / "samples").glob("*")) for run in ("whole", "killed")]
    assert pictures[0] == pictures[1]


def test_trials_that_others_put_into_the_study_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*SHORT, "--out", str(tmp_path)]
    assert main([*flags, "--trials", "6"]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.optimize(lambda trial: -1e9 + trial.suggest_float("mine", 0, 1), n_trials=2)
    capsys.readouterr()
    assert main([*flags, "--trials", "8"]) == 0
    said = capsys.readouterr()
    assert "note: 2 finished trials of this study are not a search's own" in said.err
    assert "-1e+09" not in said.out
    ours = [trial for trial in finished_trials(tmp_path) if "guidegym:guidance" in trial.user_attrs]
    assert len(ours) == 8


def test_cma_es_says_that_it_unpickles_from_a_storage_that_others_may_write_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*SHORT, "--trials", "6", "--sampler", "cmaes"]
    assert main([*flags, "--out", str(tmp_path / "own")]) == 0
    assert "pickle" not in capsys.readouterr().err
    shared = ["--storage", f"sqlite:///{tmp_path / 'shared.db'}", "--out", str(tmp_path / "shared")]
    assert main([*flags, *shared]) == 0
    assert "keeps its state in the storage as a pickle" in capsys.readouterr().err
