"""Names are text, never markup; files are named without collision; what cannot be drawn or named loses no number."""

import dataclasses
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from guidegym.studies import sigmoid_schedule
from hypothesis import given, settings
from hypothesis import strategies as st

import guidegym as gg
from guidegym import DDIM, GuideGymError
from guidegym.metrics.resampling import interval_around
from guidegym.pictures import plain_text, sample_picture, schedule_picture
from guidegym.search import OBJECTIVES, Study
from guidegym.search.writing import file_names
from guidegym.tables import markdown_table
from guidegym.tune import main

NASTY = ("$", "$x_$", "a$b$c", r"$\frac{$", "<b>bold</b>", "a|b", "two\nlines", "\udcff", "x" * 5000, "", "名前")
NAMED = """
    import dataclasses
    from guidegym import Constant, Guidance, Likelihood
    from guidegym.search import Baseline
    from guidegym.studies import sigmoid_schedule

    def study(testbed="gaussians"):
        made = sigmoid_schedule.study(testbed)
        names = ["$x_$ costs 5$", "a b", "a-b", "A-B", "<b>bold</b> & <script>", "\\udcff file", "a|b" + "y" * 300]
        baselines = tuple(
            Baseline(name, Guidance(Likelihood("exact"), Constant(1.0 + i))) for i, name in enumerate(names)
        )
        return dataclasses.replace(made, name="named", baselines=baselines, num_trials=2)
"""
BROKEN = """
    import dataclasses
    import torch
    from guidegym.testbeds import load_testbed

    def testbed(device):
        made = load_testbed("gaussians", device=device)
        guides = {"time_dependent": made.classifiers["exact"]}
        return dataclasses.replace(made, name="broken", denoiser=lambda x, t: x * {factor}, classifiers=guides)
"""


def _short(tmp_path: Path, text: str, *flags: str) -> list[str]:
    path = tmp_path / "my.py"
    path.write_text(textwrap.dedent(text))
    sizes = ["--steps", "3", "--samples", "2", "--confirm-samples", "3", "--trials", "2"]
    return [*flags, *sizes, "--out", str(tmp_path / "run")]


def test_a_study_with_nasty_names_runs_to_its_end_and_names_its_files_apart(tmp_path: Path) -> None:
    flags = _short(tmp_path, NAMED, "--study", str(tmp_path / "my.py"), "--testbed", "gaussians")
    assert main(flags) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    pictures = list((tmp_path / "run" / "samples").iterdir())
    assert len(pictures) == len(results["methods"]) == 7 + 2
    assert len({path.name.casefold() for path in pictures}) == len(pictures)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "& <script>" not in page
    assert "<b>bold</b>" not in page


@pytest.mark.parametrize("name", NASTY)
def test_any_name_can_be_drawn(name: str) -> None:
    labels = torch.tensor([0, 1])
    for x in (torch.zeros(2, 2), torch.zeros(2, 1, 8, 8)):
        assert sample_picture(x, labels, [name, "other"], title=name).startswith(b"\x89PNG")
    guidance = gg.Guidance(gg.Likelihood("exact"), gg.Constant(1.0))
    assert schedule_picture({name: guidance}, gg.VPProcess()).startswith(b"\x89PNG")
    assert plain_text(name).isprintable()


@given(st.lists(st.text(st.characters(), max_size=300), unique=True, max_size=8))
@settings(max_examples=60)
def test_files_of_different_names_are_different_short_and_plain(names: list[str]) -> None:
    files = file_names(names)
    assert len({own.casefold() for own in files.values()}) == len(names)
    assert all(own.isascii() and 0 < len(own) < 100 and "/" not in own for own in files.values())


def test_usual_names_stay_as_they_are() -> None:
    names = ["trial 16", "constant 2.5", "thesis A (s=12, eta=1)"]
    assert list(file_names(names).values()) == ["trial-16", "constant-2.5", "thesis-A-s=12-eta=1"]


def test_a_bar_or_a_new_line_does_not_end_a_cell() -> None:
    assert markdown_table(["a", "b"], [["x|y", "z\nz"]]).splitlines()[2] == r"| x\|y | z z |"


@pytest.mark.parametrize("shape", [(2,), (4, 8, 8), (2, 8, 8), (8, 8), (1,), (5,), (3, 2, 8, 8), (1, 8, 8), (3, 8, 8)])
def test_samples_of_any_shape_can_be_drawn(shape: tuple[int, ...]) -> None:
    assert sample_picture(torch.zeros(3, *shape), torch.tensor([0, 0, 1]), ["a", "b"]).startswith(b"\x89PNG")


def test_samples_are_written_before_their_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import guidegym.sample  # noqa: F401

    def fails(*arguments: object, **keywords: object) -> bytes:
        raise RuntimeError("no font")

    command = sys.modules["guidegym.sample"]  # the package has a function of that name
    monkeypatch.setattr(command, "sample_picture", fails)
    with pytest.raises(RuntimeError, match="no font"):
        command.main(["--testbed", "gaussians", "--num", "4", "--steps", "3", "--out", str(tmp_path)])
    assert np.load(tmp_path / "samples.npz")["x"].shape == (4, 2)


@pytest.mark.parametrize(
    ("factor", "said"), [("float('nan')", "not finite"), ("1e30", "far away"), ("-1e5", "far away")]
)
def test_a_study_without_a_sound_candidate_has_no_best(
    factor: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = _short(tmp_path, BROKEN.replace("{factor}", factor))
    assert main(["--study", "sigmoid_schedule", "--testbed", str(tmp_path / "my.py"), *flags]) == 1
    out, err = capsys.readouterr()
    assert "best:" not in out
    assert err.splitlines()[-1].startswith("error: every method has samples that failed")
    assert said in err.splitlines()[-1]
    assert not (tmp_path / "run" / "best.json").exists()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["best"] is None
    assert said in results["failure"]
    assert "No best method" in (tmp_path / "run" / "report.html").read_text()


def test_an_objective_that_nobody_knows_is_refused_and_none_is_taken_for_another(unchecked: None) -> None:
    made = sigmoid_schedule.study("gaussians")
    for wrong in ((len,), ("speed",), (), ("kid", "kid"), (None,), ("kid", 3)):
        with pytest.raises(GuideGymError, match="`objectives` must be different names of kid, accuracy, got"):
            dataclasses.replace(made, objectives=wrong)
    with pytest.raises(TypeError):
        OBJECTIVES["speed"] = "minimize"  # type: ignore[index]


def test_a_sampler_that_no_command_can_name_is_refused() -> None:
    class Mine(DDIM):
        """Another rule under the same settings."""

    made: Study = sigmoid_schedule.study("gaussians")
    with pytest.raises(GuideGymError, match="`sampler` must be of DDIM"):
        dataclasses.replace(made, sampler=Mine(5))
    baseline = dataclasses.replace(made.baselines[0], sampler=Mine(5), params=None)
    with pytest.raises(GuideGymError, match="`sampler` must be of DDIM"):
        dataclasses.replace(made, baselines=(baseline,))


@given(st.floats(-5, 5), st.lists(st.floats(-100, 100), min_size=20, max_size=40))
@settings(max_examples=60)
def test_an_interval_never_leaves_out_its_own_estimate(value: float, resampled: list[float]) -> None:
    found = interval_around(value, torch.tensor(resampled, dtype=torch.float64))
    assert found.low <= value + 1e-9
    assert found.high >= value - 1e-9
