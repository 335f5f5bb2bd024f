"""The command that measures classifiers."""

import csv
import json
from pathlib import Path

import pytest

from guidegym.evaluate import main
from guidegym.evaluation.classifiers.classifier_page import markdown_of

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FEW = ["--rows", "60", "--attacked", "10", "--quick"]


@pytest.mark.slow
def test_classifiers_of_images_are_measured_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["time_dependent", "gmmc_discriminative"]
    assert main(["--testbed", "digits", "--classifier", *names, "--out", str(tmp_path), *FEW]) == 0
    shown = capsys.readouterr().out
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["classifier"] for row in rows] == names
    for name in names:
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["rows"] == 60
        assert found["accuracy"] > 0.9
        assert set(found["outside"]) == {"photographs", "interpolated", "noise"}
        assert all(0 <= value <= 1 for own in found["attacks"].values() for value in own.values())
        assert found["attacks"]["l2"]["4"] <= found["clean_of_attacked"]
        assert (tmp_path / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        page = (tmp_path / f"{name}.html").read_text()
        assert "http" not in page.replace("http-equiv", "")
        assert "Out-of-distribution" in page
        assert f"| {name} |" in shown
    assert (tmp_path / "table.html").is_file()


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--testbed", "gaussians-imperfect", "--out", str(tmp_path / "exact"), *FEW]
    assert main([*flags, "--classifier", "skewed"]) == main([*flags, "--classifier", "skewed"]) == 0
    assert "measured before" not in capsys.readouterr().out  # not a network: whether it changed cannot be known
    flags = ["--testbed", "digits", "--out", str(tmp_path / "digits"), *FEW, "--classifier", "robust_r0"]
    assert main(flags) == 0
    record = tmp_path / "digits" / "robust_r0.json"
    first, table = record.read_bytes(), (tmp_path / "digits" / "table.csv").read_bytes()
    assert main(flags) == 0
    assert "robust_r0: measured before" in capsys.readouterr().out
    assert (tmp_path / "digits" / "table.csv").read_bytes() == table
    record.write_bytes(first[:100])  # as a crash of the machine might leave it
    assert main([*flags, "--rows", "61"]) == 0
    assert "measured before" not in capsys.readouterr().out
    assert json.loads(record.read_text())["rows"] == 61


def test_where_the_truth_is_known_gradients_are_held_against_it(tmp_path: Path) -> None:
    assert main(["--testbed", "gaussians-imperfect", "--classifier", "all", "--out", str(tmp_path), *FEW]) == 0
    found = json.loads((tmp_path / "skewed.json").read_text())
    assert 0 < found["gradients"]["cosine"][0] < 0.999
    assert main(["--testbed", "gaussians", "--classifier", "exact", "--out", str(tmp_path), *FEW]) == 0
    exact = json.loads((tmp_path / "exact.json").read_text())
    assert exact["gradients"]["cosine"] == pytest.approx([1.0] * len(exact["gradients"]["cosine"]), abs=1e-4)
    assert "attacks" not in exact


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--classifier", "nothing"], "model 'digits' has no classifier 'nothing'; it has "),
        (["--classifier", "robust", "--rows", "0"], "`--rows` must be a whole number >= 1, got 0"),
        (["--classifier", "robust", "--data", "x"], "the digits come with scikit-learn"),
        (["--classifier", "robust", "--weights", "nowhere"], "nowhere has no weight file of a classifier"),
        (["--classifier", "robust", "--testbed", "moon"], "unknown testbed 'moon'"),
    ],
)
def test_wrong_input_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--testbed", "digits", "--out", str(tmp_path / "out"), *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_several_processes_do_not_measure_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["--testbed", "digits", "--classifier", "robust", "--out", str(tmp_path / "out")]) == 2
    assert "`--classifier` runs in one process, got 2" in capsys.readouterr().err


@pytest.mark.parametrize("record", sorted(RESULTS.glob("classifiers-*.csv")), ids=lambda path: path.stem)
def test_the_page_shows_what_was_measured(record: Path) -> None:
    with record.open() as file:
        rows = list(csv.DictReader(file))
    assert markdown_of(rows) in (RESULTS.parents[1] / "docs" / "classifiers.md").read_text()
