"""The search as a process: the same command gives the same result, a kill loses nothing, a wild scale is survived."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import pytest
from short_search import ROOT, SHORT, WILD, finished_trials

from guidegym import Constant, Guidance, load_testbed
from guidegym.search.loading import load_study
from guidegym.search.scoring import Scorer
from guidegym.search.tuning import first_fresh_row
from guidegym.tune import main

OPTIMIZERS = ("tpe", "gp", "cmaes", "random")


def _seeded(optimizer: str) -> list[str]:
    return [*SHORT, "--trials", "14", "--optimizer", optimizer, "--seed", "3"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the command with each optimizer in one other process, which has its own hash seed, and return where."""
    out = tmp_path_factory.mktemp("elsewhere")
    runs = [[*_seeded(optimizer), "--out", str(out / optimizer)] for optimizer in OPTIMIZERS]
    code = (
        "import sys, pytest; sys.path.insert(0, 'tests'); from short_search import draw_once; "
        f"from guidegym.tune import main; draw_once(pytest.MonkeyPatch()); sys.exit(max(map(main, {runs!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
    return out


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_command_gives_the_same_result_here_and_in_another_process(
    optimizer: str, elsewhere: Path, tmp_path: Path
) -> None:
    assert main([*_seeded(optimizer), "--out", str(tmp_path)]) == 0
    for name in ("best.json", "results.json"):
        assert (tmp_path / name).read_bytes() == (elsewhere / optimizer / name).read_bytes()
    params = [[trial.params for trial in finished_trials(out)] for out in (tmp_path, elsewhere / optimizer)]
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


@pytest.mark.usefixtures("undrawn")
def test_the_searched_trials_include_the_baselines_first(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "9", "--out", str(tmp_path)]) == 0
    study = load_study("sigmoid_schedule", testbed="gaussians")
    placed = [baseline for baseline in study.baselines if baseline.params is not None]
    for trial, baseline in zip(finished_trials(tmp_path), placed, strict=False):
        assert trial.params == dict(baseline.params or {})
        assert Guidance.from_json(trial.user_attrs["guidegym:guidance"]) is not None


@pytest.mark.usefixtures("undrawn")
def test_a_wild_scale_is_scored_at_the_floor_and_the_search_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "wild.py"
    path.write_text(textwrap.dedent(WILD))
    flags = ["--testbed", "gaussians", "--steps", "5", "--samples", "6", "--confirm-samples", "8"]
    assert main(["--study", str(path), *flags, "--out", str(tmp_path / "out")]) == 0
    trials = finished_trials(tmp_path / "out")
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
    million, usual, _ = finished_trials(tmp_path / "out")
    assert million.user_attrs["failed_samples"] > 0
    assert million.values[0] > 5 * usual.values[0]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("million")]
    assert "failed)" in line
    assert "million (" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_larger_confirmation_repeats_nothing_else_and_shares_no_row_with_the_smaller(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    first, trials = json.loads((tmp_path / "results.json").read_text()), finished_trials(tmp_path)
    assert main([*SHORT, "--trials", "7", "--confirm-samples", "20", "--out", str(tmp_path)]) == 0
    second = json.loads((tmp_path / "results.json").read_text())
    assert (first["confirm_samples_per_class"], second["confirm_samples_per_class"]) == (8, 20)
    assert [(trial.number, trial.values) for trial in finished_trials(tmp_path)] == [
        (t.number, t.values) for t in trials
    ]
    seeds = [
        set(Scorer(load_testbed("gaussians"), 0, size, first_row=first_fresh_row(2 * size)).seeds.tolist())
        for size in (8, 9, 20)
    ]
    assert [len(own) for own in seeds] == [16, 18, 40]
    assert len(set().union(*seeds)) == 16 + 18 + 40


@pytest.mark.usefixtures("undrawn")
def test_the_history_names_baselines_outside_the_space_without_labels_on_its_logarithmic_axis(tmp_path: Path) -> None:
    from guidegym.search.study_page import _history

    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    opened = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    figure = _history(load_study("sigmoid_schedule", testbed="gaussians"), opened)
    assert not figure.layout.annotations
    heights = [y for trace in figure.data for y in trace.y]
    assert "unguided" in {trace.name for trace in figure.data}
    assert max(heights) < 100 * min(abs(y) for y in heights if y)


@pytest.mark.usefixtures("undrawn")
def test_a_pareto_search_runs(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "12", "--objectives", "kid,accuracy", "--out", str(tmp_path)]) == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.directions) == 2
    assert all(len(trial.values) == 2 for trial in finished_trials(tmp_path))


@pytest.mark.usefixtures("undrawn")
def test_a_search_for_accuracy_ends_with_the_most_accurate(tmp_path: Path) -> None:
    assert main([*SHORT, "--trials", "8", "--objectives", "accuracy", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    accuracy = {method["method"]: method["accuracy"]["value"] for method in results["methods"]}
    assert accuracy[results["best"]] == max(accuracy.values())
