"""The storage: its password is nobody's to read, its silence is waited out, and what others put into it is left alone."""

import shutil
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage
from optuna.storages._rdb import storage as rdb
from short_search import SHORT, finished_trials, quick_search

from guidegym import GuideGymError
from guidegym.search import optimizers, patience, queue
from guidegym.search import storage as storage_of_studies
from guidegym.search import trials as loop
from guidegym.search.address import HIDDEN, shown_address, without_passwords
from guidegym.search.tuning import RunSettings
from guidegym.tune import main

pytestmark = pytest.mark.usefixtures("undrawn")

UNREADABLE = (  # with an @ that is not percent-encoded, without a host, without a scheme: nobody can tell where a password ends
    "postgresql+psycopg://u:HUNTER2@x@127.0.0.1:1/db",
    "postgresql://u:p@HUN/TER2@host/db",
    "postgresql://u:HUNTER2",
    "postgresql:u:HUNTER2@host",
    "u:HUNTER2@host/db",
    "://u:HUNTER2@",
)
READABLE = (
    "postgresql+psycopg://u:HUNTER2%40x@127.0.0.1:1/db",
    "postgresql+psycopg://u@corp:HUNTER2@127.0.0.1:1/db",
    "postgresql+psycopg://u:HUN TER2@127.0.0.1:1/db",
    "nosuch://u:HUNTER2@host/db",
    "nosuch://host/db?user=u&password=HUN'TER2",
    "nosuch://host/db?x=1&passphrase=HUNTER2",
    "nosuch://host/db?odbc_connect=DRIVER%3Dx%3BPWD%3DHUNTER2",
)


@pytest.mark.parametrize("address", UNREADABLE + READABLE)
def test_a_password_is_in_no_message_not_even_in_a_traceback(address: str) -> None:
    with pytest.raises(GuideGymError, match="cannot be opened") as caught:
        quick_search(address, num_trials=1)
    said = "".join(traceback.format_exception(caught.value))
    assert HIDDEN in str(caught.value)
    assert "HUN" not in said
    assert "TER2" not in said


def test_a_password_is_in_no_output_and_in_no_file_of_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*SHORT, "--trials", "6", "--out", str(tmp_path / "run")]
    assert main([*flags, "--storage", READABLE[0]]) == 2
    wrong = (["--storag-url", READABLE[0]], [f"--storage-url={READABLE[0]}"], ["--seed", READABLE[0]], [READABLE[0]])
    for words in wrong:
        assert main([*flags, *words]) == 2
    long = READABLE[0].replace("HUNTER2", "l" * 30 + "HUNTER2" + "l" * 300)  # messages show the beginning of it
    for words in (["--seed", long], [long]):
        assert main([*flags, *words]) == 2
    said = capsys.readouterr()
    assert said.err.count("error:") == 7
    assert said.err.count("postgresql+psycopg://u:***@127.0.0.1:1/db") == 5  # no value of an unknown flag is shown
    assert "lll" not in said.err
    assert "HUNTER2" not in said.out + said.err
    assert not any(b"HUNTER2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "HUNTER2" not in repr(RunSettings("name", tmp_path, storage=READABLE[0]))


FORMS = ("{}://somebody:{}@host/db", "{}://somebody:{}@host:5432/db?x=1", "{}://host/db?password={}&x=1", "{}://a:{}")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=4, max_size=20),
    st.sampled_from(FORMS),
    st.sampled_from([str, quote, quote_plus]),
    st.sampled_from(["cannot connect to {}", "({}) refused: {!r}", "'{}'", "{}, and again {}"]),
)
@settings(max_examples=150)
def test_any_password_written_in_any_way_is_hidden_wherever_a_message_quotes_its_address(
    password: str, form: str, written: Callable[[str], str], said: str
) -> None:
    address, around = form.format("postgresql", written(password)), form.format("postgresql", "")
    hidden = without_passwords(said.format(address, address), [address])
    assume(not any(piece in around + said for piece in (password, written(password))))
    assert password not in hidden
    assert written(password) not in hidden
    assert "postgresql://" in hidden


def test_addresses_without_a_password_are_shown_as_they_are() -> None:
    for address in ("sqlite:///runs/a@b/study.db", "postgresql://u@host:5432/db", "journal:x.log", "study.db", ""):
        assert shown_address(address) == address
        assert without_passwords(f"`--storage` {address!r}", [address]) == f"`--storage` {address!r}"


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
    assert "error: the storage has not answered for 0.5 s: (sqlite3.OperationalError) database is locked" in errors
    assert "Traceback" not in errors
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{storage}")
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 7
    assert main(flags) == 0
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 9
    assert "not answer" not in capsys.readouterr().err


@pytest.mark.parametrize("made", [False, True], ids=["before a change", "after a change that nobody was told of"])
def test_a_connection_that_breaks_again_and_again_changes_nothing(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = quick_search(f"sqlite:///{tmp_path / 'whole.db'}", num_trials=7)
    original, opened, sessions, broken = rdb._create_scoped_session, patience.patient_storage, 0, 0

    @contextmanager
    def breaks(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        nonlocal sessions, broken
        sessions += 1
        fails = sessions % 3 == 0
        broken += fails
        if fails and not made:
            raise optuna.exceptions.StorageInternalError("the server has gone away")
        with original(*arguments, **keywords) as session:
            yield session
        if fails:
            raise optuna.exceptions.StorageInternalError("the server has gone away")

    def then_breaks(address: str) -> BaseStorage:
        storage = opened(address)  # what cannot be opened at all is not waited for
        monkeypatch.setattr(rdb, "_create_scoped_session", breaks)
        return storage

    monkeypatch.setattr(storage_of_studies, "patient_storage", then_breaks)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert quick_search(f"sqlite:///{tmp_path / 'broken.db'}", num_trials=7) == whole
    assert broken > 20


@pytest.mark.parametrize("gone", ["the folder", "the tables"])
def test_a_storage_that_is_gone_ends_in_one_line(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = loop.tell
    storage = tmp_path / "shared" / "study.db"
    storage.parent.mkdir()

    def tell(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        if gone == "the folder":
            shutil.rmtree(storage.parent)
        else:
            with sqlite3.connect(storage) as other:
                other.execute("DROP TABLE trial_values")

    monkeypatch.setattr(loop, "tell", tell)
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    flags = [*SHORT, "--trials", "9", "--out", str(tmp_path / "run"), "--storage", f"sqlite:///{storage}"]
    assert main(flags) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the storage")
    assert ("readonly database" if gone == "the folder" else "no such table") in last


def test_a_run_whose_folder_is_gone_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, out = loop.tell, tmp_path / "run"

    def tell(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        shutil.rmtree(out)

    monkeypatch.setattr(loop, "tell", tell)
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    flags = [*SHORT, "--trials", "9", "--out", str(out), "--storage", f"sqlite:///{tmp_path / 'shared.db'}"]
    assert main(flags) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {out} cannot be written: No such file or directory"


def test_a_trial_that_another_run_has_queued_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    quick_search(storage, num_trials=3)
    original = optimizers.make_optimizer

    def late(*arguments: Any, **keywords: Any) -> Any:
        study = optuna.load_study(study_name="quick", storage=storage)
        study.enqueue_trial({}, user_attrs={"guidegym:owner": "somebody"})
        return original(*arguments, **keywords)

    monkeypatch.setattr(queue, "make_optimizer", late)
    with pytest.raises(GuideGymError, match="another"):
        quick_search(storage, num_trials=6)


def test_trials_that_others_put_into_the_study_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*SHORT, "--out", str(tmp_path)]
    assert main([*flags, "--trials", "6"]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.optimize(lambda trial: -1e9 + trial.suggest_float("mine", 0, 1), n_trials=2)
    capsys.readouterr()
    assert main([*flags, "--trials", "8"]) == 0
    said = capsys.readouterr()
    assert "note: 2 finished trials of this study were not added by a search" in said.err
    assert "-1e+09" not in said.out
    ours = [trial for trial in finished_trials(tmp_path) if "guidegym:guidance" in trial.user_attrs]
    assert len(ours) == 8
