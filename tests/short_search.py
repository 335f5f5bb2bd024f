"""A short search on gaussians, for tests of the search as a process."""

import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from guidegym import Constant, Guidance, Likelihood, VPProcess, load_testbed
from guidegym.evaluation.sample_sets import methods_pictures as sample_set_pictures
from guidegym.report.pictures import schedule_picture
from guidegym.search import Baseline, Scorer
from guidegym.search import tuning as run
from guidegym.search.loading import load_study
from guidegym.search.queue import trial_name
from guidegym.search.storage import complete, open_study
from guidegym.search.study import with_overrides
from guidegym.search.trials import SearchSettings, search

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


def quick_search(
    storage: str, *, num_trials: int, optimizer: str = "tpe", study: str = "quick", batch_trials: int = 3
) -> list[tuple[str, dict[str, Any], list[float]]]:
    """Search without pictures and pages, a tenth of a second per trial, and return each trial's name, parameters and values."""
    made = with_overrides(load_study("sigmoid_schedule", testbed="gaussians"), num_steps=3, samples_per_class=2)
    # A space without failures, so that optimizers have something to learn from.
    made = replace(made, space=_mild, baselines=(Baseline("one", MILD, params={"scale": 1.0, "step": 2}),))
    opened = open_study(made, study_name=study, storage=storage, settings={}, owner="me")
    scorer = Scorer(load_testbed("gaussians", device=torch.device("cpu")), 0, 2)
    settings = SearchSettings(num_trials, batch_trials, optimizer, seed=0, timeout=None, owner="me")
    search(opened, made, scorer, settings, on_trial=lambda trial, measured: None)
    return [(trial_name(trial), trial.params, trial.values) for trial in complete(opened)]


MILD = Guidance(Likelihood("exact"), Constant(2.0))


def _mild(trial: optuna.trial.BaseTrial) -> Guidance:
    scale, step = trial.suggest_float("scale", 0.01, 2.0, log=True), trial.suggest_int("step", 1, 3)
    return Guidance(Likelihood("exact"), Constant(scale * step))


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


def draw_once(patch: pytest.MonkeyPatch) -> None:
    """Let searches in this process use one picture wherever they would draw their own."""
    png = schedule_picture({"one": MILD}, VPProcess())

    def drawn(*_: object, **__: object) -> bytes:
        return png

    patch.setattr(run, "schedule_picture", drawn)
    for module in (run, sample_set_pictures):
        patch.setattr(module, "picture_of", drawn)
