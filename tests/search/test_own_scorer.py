"""A search over a model without judge, by a scorer of one's own."""

import json
import re
from pathlib import Path

import optuna
import pytest
import torch
from torch import Tensor

import guidegym as gg
from guidegym.report.pictures import picture_of
from guidegym.sample import main as sample_main
from guidegym.search import Baseline, Study
from guidegym.search.plain import objective
from guidegym.tune import main

PAGE = (Path(__file__).parents[2] / "docs" / "own-models.md").read_text()
MINE = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "def study" in block)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of the page, in the current folder."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_search_of_the_page_runs_from_start_to_replay(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--study", "mine.py", "--testbed", "mine.py", "--out", "run", "--seed", "0"]
    assert main(flags) == 0
    said = capsys.readouterr().out
    head, rule, *rows = said.splitlines()
    assert head.split() == ["method", "smoothness", "delta", "to", "best", "cost"]
    assert set(rule) == {"-"}
    assert {"constant", "none"} <= {row.split()[0] for row in rows}
    results = json.loads((mine / "run" / "results.json").read_text())
    assert results["confirmed_on_fresh_seeds"]
    assert {"smoothness", "delta_to_best"} <= results["methods"][0].keys()
    assert "kid" not in results["methods"][0]
    page = (mine / "run" / "report.html").read_text()
    assert "smoothness" in page
    assert "KID" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert (mine / "run" / "samples" / "none.png").is_file()
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{mine / 'run' / 'study.db'}").trials
    assert len(trials) == 6
    assert all("kid" not in trial.user_attrs and trial.user_attrs["sound"] for trial in trials)
    replay = next(line for line in said.splitlines() if "guidegym.sample" in line)
    assert sample_main([*replay.split()[3:], "--num", "2", "--out", "replayed"]) == 0
    capsys.readouterr()
    assert main(flags) == 0  # nothing is left to search: the same table
    assert capsys.readouterr().out.splitlines()[:-3] == said.splitlines()[:-3]


def test_an_objective_that_needs_a_judge_is_refused_before_anything_is_sampled(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("kid", "confidence", "frechet"):
        assert main(["--study", "mine.py", "--testbed", "mine.py", "--out", "run", "--objectives", name]) == 2
        error = capsys.readouterr().err
        assert f"`--objectives` have '{name}', which this model cannot be scored by: model 'mine' has no judge" in error
        assert error.count("\n") == 1
    assert not (mine / "run" / "results.json").exists()


def _model() -> gg.Model:
    """Return a model of latents: points in the plane, decoded into images of one pixel."""

    def conditional(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        centre = torch.where(label >= 0, label.double() - 0.5, 0.0)[:, None]
        return (x - (1 - t[:, None]) * centre) / t[:, None] - centre

    def decode(x: Tensor) -> Tensor:
        assert len(x) <= 32
        return x.mean(dim=1)[:, None, None, None].expand(-1, 3, 4, 4)

    return gg.Model(
        process=gg.FlowProcess(),
        conditionals={"conditional": conditional},
        prediction="velocity",
        event_shape=(2,),
        class_names=("a dark dot", "a bright dot"),
        decode=decode,
        dtype=torch.float64,
        name="latents",
    )


def _brightness(finished: gg.Finished) -> Tensor:
    """Return how much brighter than grey the images of bright prompts are, and how much darker the others."""
    sign = torch.tensor([1.0 if "bright" in text else -1.0 for text in finished.texts], dtype=torch.float64)
    return sign * finished.images.mean(dim=(1, 2, 3))


def _guidance(weight: float) -> gg.Guidance:
    return gg.Guidance(gg.ClassifierFree(), gg.Constant(weight))


def test_objectives_find_decoded_images_and_prompts() -> None:
    study = Study(
        name="prompts",
        description="",
        testbed="latents",
        sampler=gg.Euler(10),
        space=lambda trial: _guidance(trial.suggest_float("weight", 0, 3)),
        baselines=(Baseline("none", gg.Guidance()),),
        objectives=(gg.Objective("brightness", _brightness),),
        samples_per_class=20,
    )
    search = optuna.create_study(direction="maximize")
    for weight in (0.0, 2.0):
        search.enqueue_trial({"weight": weight})
    search.optimize(objective(study, _model()), n_trials=2)
    weak, strong = (trial.value for trial in search.trials)
    # Guidance of weight w moves the centres, at 0.5, to 0.5 (1 + w).
    assert weak == pytest.approx(0.5, abs=1e-6)
    assert strong == pytest.approx(1.5, abs=1e-6)


def test_latents_are_drawn_as_their_images() -> None:
    model = _model()
    x = torch.randn(70, 2, dtype=torch.float64)
    assert model.images(x).shape == (70, 3, 4, 4)
    assert picture_of(model, x, torch.arange(70) % 2, title="decoded").startswith(b"\x89PNG")
