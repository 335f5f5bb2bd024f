"""Every shipped study runs, and its baselines lie in its space."""

import json
from pathlib import Path

import optuna
import pytest
from study_tables import markdown

from guidegym import Guidance
from guidegym.registry import names
from guidegym.search.loading import load_study
from guidegym.tune import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", names("study"))
def test_every_shipped_study_runs_two_trials_on_gaussians(name: str, tmp_path: Path) -> None:
    flags = ["--testbed", "gaussians", "--steps", "4", "--samples", "4", "--confirm-samples", "4", "--trials", "2"]
    assert main(["--study", name, *flags, "--out", str(tmp_path)]) == 0
    assert Guidance.load(tmp_path / "best.json") is not None


@pytest.mark.parametrize("name", names("study"))
@pytest.mark.parametrize("testbed", ["fashion", "gaussians"])
def test_every_baseline_lies_in_its_search_space(name: str, testbed: str) -> None:
    study = load_study(name, testbed=testbed)
    for baseline in study.baselines:
        if baseline.params is not None:
            trial = optuna.trial.FixedTrial(dict(baseline.params))
            study.space(trial)
            for key, distribution in trial.distributions.items():
                assert distribution._contains(distribution.to_internal_repr(baseline.params[key]))


RECORDS = sorted((ROOT / "benchmarks" / "results").glob("study-*-fashion.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_the_page_has_the_table_of_the_record(record: Path) -> None:
    content = json.loads(record.read_text())
    assert markdown(content["study"], content) in (ROOT / "docs" / "studies.md").read_text()
