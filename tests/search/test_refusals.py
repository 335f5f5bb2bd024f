"""What a search refuses, before it has spent anything."""

import textwrap
from pathlib import Path

import optuna
import pytest
from short_search import SHORT, WILD

from guidegym.tune import main

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{}", "are not in the space"),
        ('{"scale": 3.0}', "are not in the space"),
        ('{"scale": 1e300}, sampler=dataclasses.replace(made.sampler, eta=0.5)', "has its own `sampler`"),
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


def test_a_study_with_other_settings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 0
    assert main([*SHORT, "--trials", "7", "--seed", "9", "--out", str(tmp_path)]) == 2
    assert "holds the results of a run with seed 0, not seed 9" in capsys.readouterr().err


def test_two_searches_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from guidegym.search.storage import only_one_search

    with only_one_search(tmp_path):
        assert main([*SHORT, "--trials", "7", "--out", str(tmp_path)]) == 2
    assert "another search is running" in capsys.readouterr().err


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
    assert "has unfinished trials of another search" in capsys.readouterr().err


def test_a_baseline_whose_params_say_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(textwrap.dedent(WILD).replace('params={"scale": 1e300}', 'params={"scale": 1.0}'))
    assert main(["--study", str(path), "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert "`params` of baseline 'wild' describe a guidance that differs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
