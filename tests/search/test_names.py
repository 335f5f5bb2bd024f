"""Names are text, never markup; files are named without collision; what cannot be drawn or named loses no number."""

import dataclasses
import html
import json
import re
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
from guidegym.envs.vector import GuidanceVectorEnv
from guidegym.evaluate import main as evaluate
from guidegym.evaluation.classifiers import evaluate_classifiers as classifiers_run
from guidegym.evaluation.classifiers.measure import Effort
from guidegym.evaluation.measuring.metrics import METRICS, _estimate
from guidegym.evaluation.sample_sets import evaluate_methods as sample_sets_run
from guidegym.evaluation.sample_sets import methods_pictures as sample_sets_pictures
from guidegym.metrics.resampling import interval_around
from guidegym.report import pictures
from guidegym.report.pictures import plain_text, sample_picture, schedule_picture
from guidegym.report.tables import as_markdown, format_table, markdown_table
from guidegym.sample import main as sample_main
from guidegym.search import Study
from guidegym.search import tuning as run
from guidegym.support.files import file_names
from guidegym.tune import main

NASTY = ("$", "$x_$", "a$b$c", r"$\frac{$", "<b>bold</b>", "a|b", "two\nlines", "_a", "\udcff", "x" * 5000, "", "名前")
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


def _cannot_draw(*arguments: object, **keywords: object) -> bytes:
    raise RuntimeError("no font\nat all")


NOTED = "cannot be drawn: RuntimeError: no font at all"


def test_samples_that_cannot_be_drawn_are_written_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samples.png").touch()
    monkeypatch.setattr(pictures, "sample_picture", _cannot_draw)
    assert sample_main(["--testbed", "gaussians", "--num", "4", "--steps", "3", "--out", str(tmp_path)]) == 0
    assert np.load(tmp_path / "samples.npz")["x"].shape == (4, 2)
    assert not (tmp_path / "samples.png").exists()  # of an earlier run
    said = capsys.readouterr()
    assert f"note: the samples {NOTED}" in said.err.splitlines()
    assert said.out.splitlines()[-1] == f"wrote {tmp_path / 'samples.npz'}"


def test_a_study_whose_pictures_cannot_be_drawn_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "schedule_picture", _cannot_draw)
    for module in (run, sample_sets_pictures):
        monkeypatch.setattr(module, "picture_of", _cannot_draw)
    flags = _short(tmp_path, NAMED, "--study", str(tmp_path / "my.py"), "--testbed", "gaussians")
    assert main(flags) == 0
    assert f"note: 'a b' {NOTED}" in capsys.readouterr().err.splitlines()
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["methods"]) == 7 + 2
    assert (tmp_path / "run" / "best.json").is_file()
    assert not (tmp_path / "run" / "samples").exists()


def test_an_evaluation_whose_pictures_cannot_be_drawn_writes_its_numbers_and_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sample_sets_pictures, "picture_of", _cannot_draw)
    monkeypatch.setattr(sample_sets_run, "curves", _cannot_draw)
    guide = tmp_path / "$a_.json"
    gg.Guidance(gg.Likelihood("exact"), gg.Constant(1.0)).save(guide)
    few = ["--testbed", "gaussians", "--per-class", "6", "--steps", "2", "--metrics", "accuracy", "--resamples", "4"]
    out = tmp_path / "out"
    assert evaluate(["--guidance", "unguided", str(guide), "--scales", "2", *few, "--out", str(out)]) == 0
    errors = capsys.readouterr().err.splitlines()
    assert f"note: '$a_' {NOTED}" in errors
    assert f"note: the curves {NOTED}" in errors
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["report.html", "results.json", "table.csv"]


def test_classifiers_of_any_name_have_files_and_links_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers_run, "gradients_picture", _cannot_draw)
    made = gg.load_testbed("gaussians")
    names = ["a b", "a/b", "<i>$x_$|", "time_dependent"]
    testbed = dataclasses.replace(made, classifiers=dict.fromkeys(names, made.classifiers["exact"]))
    effort = Effort(rows=10, attacked=2, attack_steps=1, smallest=1)
    classifiers_run.evaluate_classifiers(testbed, names, effort=effort, data=None, out=tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert len(files) == 3 * len(names) + 2
    assert {"time_dependent.json", "time_dependent.png", "time_dependent.html"} <= files
    links = dict(re.findall(r'<a href="([^"]+)">([^<]+)</a>', (tmp_path / "table.html").read_text()))
    assert sorted(map(html.unescape, links.values())) == sorted(names)
    assert links.keys() <= files


def test_names_of_classes_are_text_in_frames_too() -> None:
    made = gg.load_testbed("digits")
    testbed = dataclasses.replace(made, class_names=tuple(f"$x_{{{name}$" for name in made.class_names))
    env = GuidanceVectorEnv(2, testbed=testbed, num_steps=2, observation="features", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render() is not None


@pytest.mark.parametrize("name", NASTY)
def test_a_row_of_a_table_for_the_terminal_is_one_line(name: str) -> None:
    lines = format_table(["method", "number"], [[name, "1"], ["other", "2"]]).splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("robust_time, w=2.5 (eta)", "robust_time, w=2.5 (eta)"),  # nothing in it that Markdown reads
        ("*a* _b_ `c`", r"\*a\* \_b\_ \`c\`"),
        ("[x](y) <b> &lt; $x$ ~~z~~", r"\[x\](y) \<b\> \&lt; \$x\$ \~\~z\~\~"),
        ("a|b\\\nc", r"a\|b\\ c"),
    ],
)
def test_a_name_in_markdown_is_shown_as_it_is(name: str, written: str) -> None:
    assert as_markdown(name) == written
    assert markdown_table(["a"], [[as_markdown(name)]]).splitlines()[2] == f"| {written} |"


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
    for wrong, said in (
        (("speed",), "unknown objective 'speed'; known: accuracy, "),
        ((), "`objectives` must be one or more objectives, got"),
        ("kid", "`objectives` must be one or more objectives, got 'kid'"),
        (("kid", "kid"), "`objectives` must have different names, got"),
        ((None,), "objective None must be an Objective or a function, got NoneType"),
        (("kid", 3), "objective 3 must be an Objective or a function, got int"),
    ):
        with pytest.raises(GuideGymError, match=said):
            dataclasses.replace(made, objectives=wrong)


def test_a_sampler_that_no_command_can_name_is_refused() -> None:
    class Mine(DDIM):
        """Another rule under the same settings."""

    made: Study = sigmoid_schedule.study("gaussians")
    with pytest.raises(GuideGymError, match="Mine has no name for use in files: register it by"):
        dataclasses.replace(made, sampler=Mine(5))
    baseline = dataclasses.replace(made.baselines[0], sampler=Mine(5), params=None)
    with pytest.raises(GuideGymError, match="Mine has no name for use in files: register it by"):
        dataclasses.replace(made, baselines=(baseline,))


@given(st.floats(-5, 5), st.lists(st.floats(-100, 100), min_size=20, max_size=40))
@settings(max_examples=60)
def test_an_interval_never_leaves_out_its_own_estimate(value: float, resampled: list[float]) -> None:
    draws = torch.tensor(resampled, dtype=torch.float64)
    for found in (interval_around(value, draws), _estimate(METRICS["intra_kid"], value, draws)):
        assert found.low <= value <= found.high


def test_a_mean_that_one_resample_drags_beyond_the_others_does_not_drag_the_interval_away() -> None:
    draws = torch.zeros(1000, dtype=torch.float64)
    draws[0] = 1e9  # its mean, 1e6, is beyond the 97.5th percentile
    found = interval_around(1.0, draws)
    assert found.low <= 1.0 <= found.high
