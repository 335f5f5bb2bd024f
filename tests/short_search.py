"""A short search on gaussians, for tests of the search as a process."""

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import optuna
from optuna.trial import TrialState

ROOT = Path(__file__).parents[1]
SHORT = [
    "--study",
    "sigmoid_schedule",
    "--testbed",
    "gaussians",
    "--steps",
    "5",
    "--samples",
    "6",
    "--confirm-samples",
    "8",
]
WILD = """
    import dataclasses
    from guidegym import Constant, Guidance, Likelihood
    from guidegym.search import Baseline
    from guidegym.studies import sigmoid_schedule

    def study(testbed="gaussians"):
        made = sigmoid_schedule.study(testbed)

        def space(trial):
            return Guidance(Likelihood("exact"), Constant(trial.suggest_categorical("scale", [1.0, 1e300])))

        wild = Baseline("wild", Guidance(Likelihood("exact"), Constant(1e300)), params={"scale": 1e300})
        return dataclasses.replace(made, name="wild", space=space, baselines=(wild,), num_trials=6)
"""


def finished_trials(out: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'study.db'}")
    return study.get_trials(states=(TrialState.COMPLETE,))


def wait_for(count: int, out: Path) -> None:
    """Wait until so many trials are finished, asking the file itself: Optuna takes longer to answer than a trial takes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.01)
        try:
            with closing(sqlite3.connect(f"file:{out / 'study.db'}?mode=ro", uri=True)) as storage:
                (finished,) = storage.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
        except sqlite3.OperationalError:
            continue  # not there yet
        if finished >= count:
            return
    raise AssertionError(f"no {count} trials in two minutes")


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "guidegym.tune", *SHORT, "--out", str(out), *more]
