"""The page on models of one's own: every block runs, and does what is said of it."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from PIL import Image

import guidegym as gg


def test_the_page_on_own_models_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for family in (tiny.stable_diffusion_3,):
        pipeline = family()
        monkeypatch.setattr(type(pipeline), "from_pretrained", lambda _, made=pipeline: made)
    page = (Path(__file__).parents[2] / "docs" / "own-models.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    blocks = [block for block in blocks if "def study" not in block]  # run by the tests of the search
    assert len(blocks) == 14
    assert max(sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(block))) for block in blocks) <= 8
    for name in ("cat", "dog"):
        Path("photos", name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (40, 32), (30 * number, 0, 0)).save(f"photos/{name}/{number}.png")
    names: dict[str, Any] = {}
    for block in blocks:
        torch.manual_seed(0)
        exec(block, names)  # noqa: S102
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "torch.Size([4, 1, 8, 8])"
    assert said[1].startswith("Cost(denoiser=40,")  # two rows, ten steps, with and without the class
    assert said[2].startswith("torch.Size([4, 3, 32, 32]) Cost(denoiser=")
    assert said[3].startswith("torch.Size([4, 1, 8, 8]) Cost(denoiser=")
    assert said[4] == "torch.Size([2, 3, 64, 64])"
    bright = names["samples"].x.mean(dim=(1, 2, 3))
    assert float(bright[:2].min()) > float(bright[2:].max())
    guided, classifier = names["guided"], names["classifier"]
    plain = gg.sample(names["model"], labels=[0, 1], sampler=gg.DDIM(5))
    posteriors = [classifier(one.x).softmax(dim=1).diagonal() for one in (guided, plain)]
    assert bool((posteriors[0] > posteriors[1]).all())
    assert said[-7] in [f"tensor({share}, dtype=torch.float64)" for share in ("0.", "0.5000", "1.")]
    assert [float(re.findall(r"[\d.]+", line)[0]) for line in said[-6:-4]] == pytest.approx([0.5, 0.5], abs=0.01)
    assert said[-4] == "torch.Size([2, 7, 512])"
    assert said[-3:] == ["7.0 torch.Size([1, 3, 32, 32])", "7.0", "tensor(True)"]
    assert (tmp_path / "guider" / "guider_config.json").is_file()
