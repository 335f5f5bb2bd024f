"""The command that measures methods, and the methods it takes."""

import csv
import json
from pathlib import Path

import pytest
import torch
from sampled import GUIDED

from guidegym import DDIM, Constant, GuideGymError, Testbed
from guidegym.evaluate import main as evaluate
from guidegym.evaluation.sample_sets import collect as collecting
from guidegym.evaluation.sample_sets.named_methods import methods, scaled


def _flags(steps: int, out: Path) -> list[str]:
    return ["--testbed", "digits", "--per-class", "8", "--steps", str(steps), "--out", str(out)]


def test_methods_are_files_and_two_baselines(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        GUIDED.guidance.save(tmp_path / folder / "best.json")
    files = [str(tmp_path / folder / "best.json") for folder in ("one", "two")]
    found = methods(["unguided", *files, "classifier-free:2.5", "classifier-free"], DDIM(4))
    assert [one.name for one in found] == ["unguided", "best", "two/best", "classifier-free:2.5", "classifier-free"]
    assert found[3].guidance.weight == Constant(2.5)
    with pytest.raises(GuideGymError, match=r"has 'unguided' twice"):
        methods(["unguided", "unguided"], DDIM(4))


def test_a_scaled_method_has_the_scaled_weight_at_each_step(digits: Testbed) -> None:
    doubled = scaled(GUIDED, 2.0, digits.process)
    wanted = 2 * GUIDED.guidance.weights(GUIDED.sampler, digits.process)
    torch.testing.assert_close(doubled.guidance.weights(GUIDED.sampler, digits.process), wanted)
    assert doubled.name == "guided x 2"


def test_the_command_measures_compares_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDED.guidance.save(tmp_path / "guided.json")
    flags = ["--resamples", "10", *_flags(4, tmp_path / "a")]
    given = ["--guidance", "unguided", "--guidance", str(tmp_path / "guided.json")]
    assert evaluate([*flags, *given, "--scales", "0.5", "1"]) == 0
    out = capsys.readouterr().out
    assert "warning: 80 samples are few for Frechet, Frechet, n = inf in 64 dimensions" in out
    assert "intra-KID (lower)" in out
    content = json.loads((tmp_path / "a" / "results.json").read_text())
    assert [one["method"] for one in content["methods"]] == ["unguided", "guided"]
    assert content["extractor"]["name"] == "digits judge"
    assert content["methods"][1]["delta_to_first"]["accuracy"]["value"] > 0.3
    rows = list(csv.DictReader((tmp_path / "a" / "table.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"unguided", "guided"}
    for name in ("samples.png", "curves.png"):
        assert (tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "a" / "report.html").read_text()
    assert "Differences from unguided" in page
    assert "* differs from unguided on the same seeds" in page
    beside = ["--beside", str(tmp_path / "a" / "results.json"), "--metrics", "accuracy"]
    assert evaluate([*flags[:-1], str(tmp_path / "b"), "--guidance", "classifier-free", *beside]) == 0
    said = capsys.readouterr().out
    assert "Of an earlier run, not compared: a/unguided, a/guided." in said
    assert not (tmp_path / "b" / "curves.png").exists()
    assert evaluate([*flags, "--guidance", "unguided", "--metrics", "accuracy"]) == 0
    assert not (tmp_path / "a" / "curves.png").exists()  # of an earlier run, which drew some


@pytest.mark.parametrize("launched", [False, True], ids=["flags", "torchrun"])
def test_shards_sample_and_the_last_one_measures(
    launched: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 40)
    flags = ["--guidance", "unguided", *_flags(3, tmp_path)]
    for shard in range(2):
        monkeypatch.setenv("RANK", str(shard))
        monkeypatch.setenv("WORLD_SIZE", "2")
        given = [] if launched else ["--shard", str(shard), "--shards", "2"]
        assert evaluate([*flags, "--metrics", "accuracy", "--resamples", "4", *given]) == 0
        said = capsys.readouterr().out
        assert ("1 chunks of other shards are missing" in said) == (shard == 0)
    assert (tmp_path / "results.json").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--guidance", "nowhere.json"], "nowhere.json cannot be read"),
        (["--guidance", "classifier-free:much"], "must be a number, got 'much'"),
        (["--guidance", "unguided", "--per-class", "0"], "`--per-class` must be a whole number in 1..1000000, got 0"),
        (["--guidance", "unguided", "--per-class", "3"], "`precision` needs at least 6 samples per class, got 3"),
        (["--guidance", "unguided", "--metrics", "fid"], "no metric 'fid'; known: frechet, "),
        (["--guidance", "unguided", "--energy", "nobody"], "`--energy` must be a classifier with known class energies"),
        (["--guidance", "unguided", "--shard", "1"], "`--shard` and `--shards` belong together"),
        (["--guidance", "unguided", "--shard", "2", "--shards", "2"], "`--shard` must be in 0..1, got 2"),
        (["--guidance", "unguided", "--inception-weights", "x"], "belongs to `--extractor inception`"),
        (["--guidance", "unguided", "--extractor", "inception", "--inception-weights", "x"], "no Inception weights x"),
        (["--guidance", "unguided", "--steps", "0"], "`--steps` must be"),
        (["--guidance", "unguided", "--beside", "nothing.json"], "nothing.json cannot be read: No such file"),
        (["--guidance", "unguided", "--rows", "5"], "`--rows` belongs to `--classifier`, got it with `--guidance`"),
        (["--classifier", "robust", "--per-class", "5"], "`--per-class` belongs to `--guidance`, got it with `--class"),
        (["--guidance", "unguided", "--data", "x"], "`--data` is only used with `--classifier` or `--extractor inception`"),
        (["--guidance", "unguided", "--scales", "nan"], "`--scales` must be finite numbers, got nan"),
        (["--guidance", "classifier-free:"], "must be a number, got ''"),
        (["--guidance", "unguided", "--resamples", "1"], "`--resamples` must be a whole number in 2..1000000, got 1"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_input_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(["--testbed", "digits", "--out", str(tmp_path / "out"), *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_inception_needs_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--testbed", "gaussians", "--guidance", "unguided", "--extractor", "inception"]) == 2
    assert "Inception looks at images of 1 or 3 channels, got samples of shape (2,)" in capsys.readouterr().err
