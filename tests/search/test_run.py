"""The search as a process: the same command gives the same result, a kill loses nothing, a wild scale is survived."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from guidegym import Constant, Guidance, load_testbed
from guidegym.search.loading import load_study, shipped_studies
from guidegym.search.run import first_fresh_row
from guidegym.search.scoring import Scorer
from guidegym.tune import main

ROOT = Path(__file__).parents[2]
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


def _finished(out: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'study.db'}")
    return study.get_trials(states=(TrialState.COMPLETE,))


def _wait_for(count: int, out: Path) -> None:
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


def _command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "guidegym.tune", *SHORT, "--out", str(out), *more]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random"])
def test_the_same_command_gives_the_same_result_here_and_in_another_process(sampler: str, tmp_path: Path) -> None:
    flags = ["--trials", "14", "--sampler", sampler, "--seed", "3"]
    assert main([*SHORT, *flags, "--out", str(tmp_path / "a")]) == 0
    subprocess.run(_command(tmp_path / "b", *flags), check=True, capture_output=True, cwd=ROOT)
    for name in ("best.json", "results.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    params = [[trial.params for trial in _finished(tmp_path / run)] for run in "ab"]
    assert params[0] == params[1]
    assert len(params[0]) == 14


def test_a_run_leaves_all_its_files(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "9", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert Guidance.load(tmp_path / "best.json") is not None
    assert results["confirmed_on_fresh_seeds"] is True
    assert {"unguided", "constant 2"} <= {method["method"] for method in results["methods"]}
    for method in results["methods"]:
        for measure in ("kid", "frechet_distance", "accuracy"):
            if method["failed_samples"] and measure == "frechet_distance":
                assert method[measure]["value"] is None
            else:
                assert method[measure]["low"] <= method[measure]["value"] <= method[measure]["high"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img alt=") == len(results["methods"])
    assert 'src="http' not in page
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert any(key.startswith("dashboard:note") for key in study._storage.get_study_system_attrs(study._study_id))
    for trial in study.trials:
        attributes = trial.system_attrs
        assert sum(key.startswith("artifacts:") for key in attributes) == 2
    assert len(list((tmp_path / "artifacts").iterdir())) == 2 * len(study.trials)


def test_the_searched_trials_include_the_baselines_first(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "9", "--out", str(tmp_path)]) == 0
    study = load_study("sigmoid_schedule", testbed="gaussians")
    placed = [baseline for baseline in study.baselines if baseline.params is not None]
    for trial, baseline in zip(_finished(tmp_path), placed, strict=False):
        assert trial.params == dict(baseline.params or {})
        assert Guidance.from_json(trial.user_attrs["guidegym:guidance"]) is not None


def test_a_kill_loses_no_finished_trial_and_leaves_none_running(tmp_path: Path) -> None:
    flags = ("--trials", "40", "--seed", "1", "--batch-trials", "3", "--samples", "60", "--steps", "20")
    endless = [*flags, "--trials", "4000"]
    process = subprocess.Popen(
        _command(tmp_path / "killed", *endless), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    _wait_for(13, tmp_path / "killed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {trial.number: (trial.params, trial.values) for trial in _finished(tmp_path / "killed")}
    assert 13 <= len(before) < 40
    assert main([*SHORT, *flags, "--out", str(tmp_path / "killed")]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'killed' / 'study.db'}")
    after = {trial.number: (trial.params, trial.values) for trial in _finished(tmp_path / "killed")}
    assert len(after) == 40
    assert before.items() <= after.items()
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    # What a stop must not change: the resumed search is the one that was not stopped.
    assert main([*SHORT, *flags, "--out", str(tmp_path / "whole")]) == 0
    assert (tmp_path / "whole" / "best.json").read_bytes() == (tmp_path / "killed" / "best.json").read_bytes()
    whole = [(trial.params, trial.values) for trial in _finished(tmp_path / "whole")]
    assert whole == list(after.values())


def test_ctrl_c_ends_cleanly_with_what_there_is_and_the_same_command_goes_on(tmp_path: Path) -> None:
    flags = ("--trials", "30", "--samples", "60", "--steps", "20")
    process = subprocess.Popen(
        _command(tmp_path, *flags, "--trials", "4000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    _wait_for(12, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert Guidance.load(tmp_path / "best.json") is not None
    assert "Interrupted before the confirmation" in (tmp_path / "report.html").read_text()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    assert main([*SHORT, *flags, "--out", str(tmp_path)]) == 0
    assert len(_finished(tmp_path)) == 30


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


def test_a_wild_scale_is_scored_at_the_floor_and_the_search_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "wild.py"
    path.write_text(textwrap.dedent(WILD))
    flags = ["--testbed", "gaussians", "--steps", "5", "--samples", "6", "--confirm-samples", "8"]
    assert main(["--study", str(path), *flags, "--out", str(tmp_path / "out")]) == 0
    trials = _finished(tmp_path / "out")
    assert len(trials) == 6
    wild = [trial for trial in trials if trial.params["scale"] == 1e300]
    assert wild and all(trial.user_attrs["failed_samples"] == 12 for trial in wild)
    assert len({trial.values[0] for trial in wild}) == 1
    methods = {
        method["method"]: method for method in json.loads((tmp_path / "out/results.json").read_text())["methods"]
    }
    assert methods["wild"]["failed_samples"] == 16
    assert Guidance.load(tmp_path / "out" / "best.json").weight == Constant(1.0)


MILLION = """
    import dataclasses
    from guidegym import ClassEnergy, Constant, Guidance
    from guidegym.search import Baseline
    from guidegym.studies import sigmoid_schedule

    def study(testbed="fashion"):
        guide = ClassEnergy("time_dependent")
        usual = Baseline("usual", Guidance(guide, Constant(2.0)), params={"scale": 2.0})
        million = Baseline("million", Guidance(guide, Constant(1e6)), params={"scale": 1e6})

        def space(trial):
            return Guidance(guide, Constant(trial.suggest_float("scale", 1.0, 1e6, log=True)))

        made = sigmoid_schedule.study(testbed)
        return dataclasses.replace(made, name="million", space=space, baselines=(million, usual), num_trials=3)
"""


def test_a_million_times_the_gradient_saturates_images_is_reported_and_the_search_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "million.py"
    path.write_text(textwrap.dedent(MILLION))
    flags = ["--steps", "5", "--samples", "2", "--confirm-samples", "2", "--device", "cpu"]
    assert main(["--study", str(path), *flags, "--out", str(tmp_path / "out")]) == 0
    million, usual, _ = _finished(tmp_path / "out")
    assert million.user_attrs["failed_samples"] > 0
    assert million.values[0] > 5 * usual.values[0]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("million")]
    assert "failed)" in line
    assert "million (" in (tmp_path / "out" / "report.html").read_text()


def test_a_larger_confirmation_repeats_nothing_else_and_shares_no_row_with_the_smaller(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    first, trials = json.loads((tmp_path / "results.json").read_text()), _finished(tmp_path)
    assert main([*SHORT, "--trials", "7", "--confirm-samples", "20", "--out", str(tmp_path)]) == 0
    second = json.loads((tmp_path / "results.json").read_text())
    assert (first["confirm_samples_per_class"], second["confirm_samples_per_class"]) == (8, 20)
    assert [(trial.number, trial.values) for trial in _finished(tmp_path)] == [(t.number, t.values) for t in trials]
    seeds = [
        set(Scorer(load_testbed("gaussians"), 0, size, first_row=first_fresh_row(2 * size)).seeds.tolist())
        for size in (8, 9, 20)
    ]
    assert [len(own) for own in seeds] == [16, 18, 40]
    assert len(set().union(*seeds)) == 16 + 18 + 40


def test_the_history_names_baselines_outside_the_space_without_labels_on_its_logarithmic_axis(tmp_path: Path) -> None:
    from guidegym.search.report import _history

    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    opened = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    figure = _history(load_study("sigmoid_schedule", testbed="gaussians"), opened)
    assert not figure.layout.annotations
    heights = [y for trace in figure.data for y in trace.y]
    assert "unguided" in {trace.name for trace in figure.data}
    assert max(heights) < 100 * min(abs(y) for y in heights if y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{}", "are not in the space"),
        ('{"scale": 3.0}', "are not in the space"),
        ('{"scale": 1e300}, sampler=dataclasses.replace(made.sampler, eta=0.5)', "has a `sampler` of its own"),
    ],
)
def test_a_baseline_outside_the_space_is_refused(
    params: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "outside.py"
    path.write_text(textwrap.dedent(WILD).replace('{"scale": 1e300}', params))
    assert main(["--study", str(path), "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_space_that_returns_no_guidance_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nothing.py"
    changed = textwrap.dedent(WILD).replace("return Guidance(", "return repr, (")
    path.write_text(changed.replace("baselines=(wild,)", "baselines=()"))
    assert main(["--study", str(path), "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert "must return a Guidance, got tuple" in capsys.readouterr().err


def test_a_pareto_search_runs(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "12", "--objectives", "kid,accuracy", "--out", str(tmp_path)]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.directions) == 2
    assert all(len(trial.values) == 2 for trial in _finished(tmp_path))


def test_a_study_with_other_settings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    assert main([*SHORT, "--trials", "7", "--seed", "9", "--out", str(tmp_path)]) == 2
    assert "holds the results of a run with seed 0, not seed 9" in capsys.readouterr().err


def test_two_searches_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from guidegym.search.storage import only_one_search

    with only_one_search(tmp_path):
        assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 2
    assert "another search is running" in capsys.readouterr().err


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_runs_two_trials_on_gaussians(name: str, tmp_path: Path) -> None:
    flags = ["--testbed", "gaussians", "--steps", "4", "--samples", "4", "--confirm-samples", "4", "--trials", "2"]
    assert main(["--study", name, *flags, "--out", str(tmp_path)]) == 0
    assert Guidance.load(tmp_path / "best.json") is not None


def test_an_interrupt_never_replaces_confirmed_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guidegym.search import loop

    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path)]) == 0
    names = ("best.json", "results.json", "report.html")
    before = [(tmp_path / name).read_bytes() for name in names]

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "tell", stop)
    assert main([*SHORT, "--trials", "12", "--out", str(tmp_path)]) == 130
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_other_networks_or_another_owner_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path)]) == 0
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.load_study(study_name=None, storage=storage)
    settings = study.user_attrs["guidegym:settings"]
    study.set_user_attr("guidegym:settings", {**settings, "networks": "others"})
    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path)]) == 2
    assert "was run with networks 'others', not networks 'exact'" in capsys.readouterr().err
    study.set_user_attr("guidegym:settings", settings)
    study.enqueue_trial({}, user_attrs={"guidegym:owner": "somebody"})
    study.ask()
    assert main([*SHORT, "--trials", "6", "--out", str(tmp_path)]) == 2
    assert "has trials of another search in hand" in capsys.readouterr().err


def test_a_baseline_whose_params_say_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(textwrap.dedent(WILD).replace('params={"scale": 1e300}', 'params={"scale": 1.0}'))
    assert main(["--study", str(path), "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert "`params` of baseline 'wild' describe another guidance" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", shipped_studies())
@pytest.mark.parametrize("testbed", ["fashion", "gaussians"])
def test_every_baseline_lies_in_its_search_space(name: str, testbed: str) -> None:
    study = load_study(name, testbed=testbed)
    for baseline in study.baselines:
        if baseline.params is not None:
            trial = optuna.trial.FixedTrial(dict(baseline.params))
            study.space(trial)
            for key, distribution in trial.distributions.items():
                assert distribution._contains(distribution.to_internal_repr(baseline.params[key]))


@pytest.mark.parametrize(
    ("sampler", "batch", "told"), [("tpe", 0, 1), ("tpe", 3, 0), ("tpe", 3, 2), ("gp", 4, 1), ("random", 1, 2)]
)
def test_a_stop_at_any_point_of_any_batch_does_not_change_the_search(
    sampler: str, batch: int, told: int, tmp_path: Path
) -> None:
    """Stop right after ``told`` trials of a batch were told, or before the first, and go on."""
    from guidegym.search import loop

    flags = ["--trials", "14", "--batch-trials", "3", "--seed", "2", "--sampler", sampler]
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
    runs = [[(trial.params, trial.values) for trial in _finished(tmp_path / run)] for run in ("whole", "stopped")]
    assert runs[0] == runs[1]


def test_a_search_for_accuracy_ends_with_the_most_accurate(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "8", "--objectives", "accuracy", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    accuracy = {method["method"]: method["accuracy"]["value"] for method in results["methods"]}
    assert accuracy[results["best"]] == max(accuracy.values())
