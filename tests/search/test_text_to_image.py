"""A search on a text-to-image pipeline by a scorer of one's own, from start to report, export and replay in diffusers."""

import json
from pathlib import Path

import optuna
import pytest
import tiny_pipelines as tiny
import torch

import guidegym as gg
from guidegym.diffusion import INITIAL, trajectory_noise
from guidegym.guidance import FoundFor
from guidegym.tune import main

STEPS = 6
CODE = """
import tiny_pipelines

import guidegym as gg


def testbed(device):
    return gg.Model.from_pipeline(tiny_pipelines.stable_diffusion_3(), ["a cat", "a red dog"], name="painter")


def warmth(finished):
    wanted = [1.0 if "red" in text else -1.0 for text in finished.texts]
    difference = finished.images[:, 0] - finished.images[:, 2]
    return difference.mean(dim=(1, 2)) * finished.images.new_tensor(wanted)
"""


@pytest.mark.slow
def test_a_search_on_a_pipeline_is_replayed_in_diffusers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    flags = ["--testbed", "mine.py", "--objectives", "mine.py:warmth,evaluations", "--sampler", "euler"]
    sizes = ["--steps", str(STEPS), "--trials", "8", "--samples", "3", "--confirm-samples", "4"]
    assert main(["--study", "cfg_schedule", *flags, *sizes, "--out", "found"]) == 0
    said = capsys.readouterr().out
    assert "warmth" in said and "constant 4" in said
    assert {path.name for path in Path("found").iterdir()} >= {"best.json", "results.json", "report.html", "study.db"}
    trials = optuna.load_study(study_name=None, storage="sqlite:///found/study.db").trials
    assert len(trials) == 8
    assert {tuple(trial.values)[1] for trial in trials if trial.params["family"] == "constant"} == {6.0, 12.0}

    best = gg.Guidance.load("found/best.json")
    pipeline = tiny.stable_diffusion_3()
    model = gg.Model.from_pipeline(pipeline, ["a cat", "a red dog"])
    assert best.found_for == FoundFor("painter", model.process)
    noise = trajectory_noise(
        gg.row_seeds(0, 1), torch.zeros(1, dtype=torch.long), model.event_shape, stream=INITIAL, dtype=torch.float32
    )
    arguments = best.to_diffusers_call(pipeline, STEPS)
    theirs = pipeline(["a red dog"], latents=noise, output_type="latent", **arguments).images
    mine = gg.sample(model, best, labels=[1], sampler=model.sampler(STEPS)).x
    assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())
    assert json.loads(Path("found/results.json").read_text())["study"] == "cfg_schedule"
