"""Racing by prompts: what is dropped, what stays, and what is saved."""

import json
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

import guidegym as gg
from guidegym.errors import GuideGymError
from guidegym.search import Baseline, Scorer, Study
from guidegym.search.racing import rounds
from guidegym.search.storage import ended, open_study
from guidegym.search.trials import SearchSettings, search
from guidegym.tune import main

PROMPTS = tuple(f"prompt {number}" for number in range(12))
STEPS = 4
CODE = """
from dataclasses import replace

from test_racing import aim, model, study as made


def testbed(device):
    return model()


def study(testbed="mine.py"):
    return replace(made(), testbed=testbed)
"""


def model(num: int = len(PROMPTS)) -> gg.Model:
    """Return a flow to one pixel per prompt: with weight ``w`` a sample ends at ``1 + w`` times its prompt's value."""

    def conditional(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        value = torch.where(label >= 0, 0.02 + 0.01 * label, 0.0).to(x)[:, None, None, None]
        return (x - value) / t[:, None, None, None]

    return gg.Model(
        process=gg.FlowProcess(),
        prediction="velocity",
        conditionals={"conditional": conditional},
        event_shape=(1, 2, 2),
        class_names=PROMPTS[:num],
        name="pixels",
    )


def aim(finished: gg.Finished) -> Tensor:
    """Score samples that end at one and a half times their prompt's value, on prompts of very different difficulty."""
    value = 0.02 + 0.01 * finished.labels.double()
    return -5.0 * finished.labels.double() - (finished.x.double().mean(dim=(1, 2, 3)) / value - 1.5).abs()


def _guided(weight: float) -> gg.Guidance:
    return gg.Guidance(gg.ClassifierFree(), gg.Constant(weight))


def study(objectives: tuple[gg.Objective, ...] = (gg.Objective("aim", aim),), num_trials: int = 12) -> Study:
    return Study(
        name="aim",
        description="One weight",
        testbed="mine.py",
        sampler=gg.Euler(STEPS),
        space=lambda trial: _guided(trial.suggest_float("weight", 0.0, 9.0)),
        baselines=(Baseline("poor", _guided(8.0), params={"weight": 8.0}),),
        objectives=objectives,
        num_trials=num_trials,
        samples_per_class=2,
        confirm_per_class=2,
    )


def _search(storage: str, *, pruner: str, num_trials: int = 12) -> tuple[list[FrozenTrial], int]:
    """Return a search's trials and the number of rows times steps that it reports."""
    made = study()
    advanced: list[int] = []
    opened = open_study(made, study_name="one", storage=storage, settings={}, owner="me")
    settings = SearchSettings(num_trials, 3, "random", seed=0, timeout=None, owner="me", pruner=pruner)
    search(
        opened,
        made,
        Scorer(model(), 0, made.samples_per_class),
        settings,
        on_trial=lambda trial, measured: None,
        on_rows=advanced.append,
    )
    return ended(opened), sum(advanced)


def _storage(folder: Path, name: str) -> str:
    return f"sqlite:///{folder / name}.db"


def test_what_stays_is_scored_as_without_a_race_and_what_is_dropped_was_behind(tmp_path: Path) -> None:
    raced, advanced = _search(_storage(tmp_path, "raced"), pruner="wilcoxon")
    plain, usual = _search(_storage(tmp_path, "plain"), pruner="none")
    assert [trial.params for trial in raced] == [trial.params for trial in plain]
    assert advanced == usual == 12 * len(PROMPTS) * 2 * STEPS
    dropped = [trial.number for trial in raced if trial.state == TrialState.PRUNED]
    assert len(dropped) >= 4
    assert 0 not in dropped  # baselines stay
    best = max(plain, key=lambda trial: trial.values[0])
    for one, other in zip(raced, plain, strict=True):
        assert other.state == TrialState.COMPLETE
        if one.number in dropped:
            assert len(one.intermediate_values) < len(PROMPTS)
            assert other.values[0] < best.values[0]
        else:
            assert one.values == other.values
            assert len(one.intermediate_values) == len(PROMPTS)
            means = sum(one.intermediate_values.values()) / len(PROMPTS)
            assert means == pytest.approx(one.values[0], rel=1e-9)
    assert best.number not in dropped


def test_a_dropped_trial_is_not_sampled_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"none": 0, "wilcoxon": 0}
    own = Scorer.sample
    for pruner in drawn:

        def counted(self: Scorer, methods, rows, *, on_rows=None, pruner=pruner):  # type: ignore[no-untyped-def]
            drawn[pruner] += len(methods) * len(rows)
            return own(self, methods, rows, on_rows=on_rows)

        monkeypatch.setattr(Scorer, "sample", counted)
        _search(_storage(tmp_path, pruner), pruner=pruner)
    assert drawn["none"] == 12 * len(PROMPTS) * 2
    assert drawn["wilcoxon"] < 0.8 * drawn["none"]


def test_a_race_continues_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, _ = _search(_storage(tmp_path, "whole"), pruner="wilcoxon")
    _search(_storage(tmp_path, "parts"), pruner="wilcoxon", num_trials=6)
    parts, _ = _search(_storage(tmp_path, "parts"), pruner="wilcoxon")
    assert [(t.params, t.state, t.intermediate_values) for t in whole] == [
        (t.params, t.state, t.intermediate_values) for t in parts
    ]


@pytest.mark.parametrize(
    ("num_trials", "batch_size", "sizes"), [(3, 64, [3, 3, 3, 3]), (6, 24, [2] * 6), (50, 8, [1] * 12)]
)
def test_a_round_fills_a_batch_and_leaves_something_to_drop(num_trials: int, batch_size: int, sizes: list[int]) -> None:
    found = rounds(Scorer(model(), 5, 2, batch_size=batch_size), num_trials)
    assert [len(classes) for classes in found] == sizes
    assert sorted(torch.cat(found).tolist()) == list(range(12))
    assert torch.cat(found).tolist() != list(range(12))


def test_a_race_is_run_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    flags = ["--study", "mine.py", "--testbed", "mine.py", "--pruner", "wilcoxon", "--out", "run", "--trials", "10"]
    assert main(flags) == 0
    results = json.loads(Path("run/results.json").read_text())
    assert results["trials"] + results["dropped_trials"] == 10
    assert results["dropped_trials"] >= 2
    assert f"and {results['dropped_trials']} that were dropped early" in Path("run/report.html").read_text()
    said = capsys.readouterr().out
    assert "best: trial" in said
    assert main(flags) == 0  # nothing is left to search
    assert len(optuna.load_study(study_name=None, storage="sqlite:///run/study.db").trials) == 10


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--pruner", "median"], "`--pruner` must be one of none, wilcoxon, got 'median'"),
        (["--pruner", "wilcoxon", "--optimizer", "cmaes"], "goes with the optimizers tpe, gp and random, got 'cmaes'"),
        (
            ["--pruner", "wilcoxon", "--objectives", "mine.py:aim,evaluations"],
            "needs a single objective, got aim, evaluations",
        ),
        (
            ["--pruner", "wilcoxon", "--objectives", "mine.py:whole"],
            "one number per sample, got 'whole', one of the whole set",
        ),
        (
            ["--pruner", "wilcoxon", "--testbed", "few.py"],
            "needs at least 5 classes or prompts to compare trials on, got 4",
        ),
    ],
)
def test_what_cannot_race_is_refused_before_anything_is_written(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE + "\n\ndef whole(finished):\n    return aim(finished).mean()\n")
    Path("few.py").write_text("from test_racing import model\n\n\ndef testbed(device):\n    return model(4)\n")
    assert main(["--study", "mine.py", "--testbed", "mine.py", "--out", "run", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("run").exists()


def test_settings_name_a_pruner() -> None:
    from guidegym.search.tuning import RunSettings

    with pytest.raises(GuideGymError, match="none, wilcoxon"):
        RunSettings("one", Path("run"), pruner="hyperband")
