"""Wrong input on purpose: one line, exit code 2, and nothing lost."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from guidegym import Constant, Guidance, Likelihood
from guidegym.registry import names
from guidegym.sample import main as sample_main
from guidegym.train_models import main as train_models_main
from guidegym.tune import main as tune_main

GAUSSIANS = ["--testbed", "gaussians"]
STUDY = ["--study", "sigmoid_schedule", *GAUSSIANS]

WRONG_TUNE = {
    "unknown study": (
        ["--study", "nothing"],
        "error: unknown study 'nothing'; the shipped ones are listed above; a path to a .py file works, too",
    ),
    "missing file": (["--study", "./none.py"], "no Python file none.py"),
    "unknown testbed": (
        ["--study", "sigmoid_schedule", "--testbed", "moon"],
        "unknown testbed 'moon'; known: digits, digits-trained-ve, digits-ve, digits-words, fashion",
    ),
    "no steps": ([*STUDY, "--steps", "0"], "`--steps` must be a whole number >= 1, got 0"),
    "too many steps": ([*STUDY, "--steps", "1001"], "`--steps` asks for 1001 noise levels, but the process has 1000"),
    "no trials": ([*STUDY, "--trials", "0"], "`--trials` must be a whole number in 1..1000000, got 0"),
    "one sample": ([*STUDY, "--samples", "1"], "`--samples` must be a whole number in 2..1000000, got 1"),
    "one fresh sample": (
        [*STUDY, "--confirm-samples", "1"],
        "`--confirm-samples` must be a whole number in 2..1000000, got 1",
    ),
    "no batch": ([*STUDY, "--batch-trials", "0"], "`--batch-trials` must be a whole number >= 1, got 0"),
    "unknown optimizer": (
        [*STUDY, "--optimizer", "magic"],
        "`--optimizer` must be one of tpe, gp, cmaes, random, got 'magic'",
    ),
    "unknown sampler": ([*STUDY, "--sampler", "magic"], "unknown sampler 'magic'; known: annealed_langevin, ddim"),
    "eta of another sampler": ([*STUDY, "--sampler", "ddpm", "--eta", "1"], "`--eta` belongs to ddim, got 1.0 with"),
    "eta out of range": ([*STUDY, "--eta", "1.5"], "`--eta` must be in [0, 1], got 1.5"),
    "unknown objective": (
        [*STUDY, "--objectives", "beauty"],
        "unknown objective 'beauty'; known: accuracy, ",
    ),
    "objective twice": ([*STUDY, "--objectives", "kid,kid"], "`--objectives` must have different names"),
    "cmaes for two": (
        [*STUDY, "--objectives", "kid,accuracy", "--optimizer", "cmaes"],
        "`--optimizer` must be tpe, gp or random for a Pareto search, got 'cmaes', which takes one objective",
    ),
    "negative seed": ([*STUDY, "--seed", "-1"], "`--seed` must be a whole number in 0..536870911, got -1"),
    "no time": ([*STUDY, "--timeout", "0"], "`--timeout` must be > 0, got 0.0"),
    "unknown device": (
        [*STUDY, "--device", "abacus"],
        "`--device` must be one that torch can use on this machine, got 'abacus'",
    ),
    "broken storage": ([*STUDY, "--storage", "nonsense://x"], "`--storage` 'nonsense://x' cannot be opened"),
    "weights for gaussians": (
        [*STUDY, "--weights", "x"],
        "`--weights` applies to testbeds of images only (fashion, digits, digits-trained-ve, digits-words)",
    ),
}


@pytest.mark.parametrize("name", WRONG_TUNE)
def test_tune_refuses_wrong_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG_TUNE[name]
    assert tune_main([*arguments, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    if name == "unknown study":
        assert len(errors.splitlines()) == 1 + len(names("study"))
        return
    assert errors.strip().count("\n") == 0


def test_tune_without_a_study_prints_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main([]) == 2
    assert "shipped studies: cfg_schedule, energy_divergence, " in capsys.readouterr().err
    assert tune_main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == names("study")
    assert len(listed) == 11


def test_out_that_is_a_file_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("precious")
    assert tune_main([*STUDY, "--trials", "2", "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out").read_text() == "precious"
    assert sample_main([*GAUSSIANS, "--num", "2", "--steps", "2", "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out").read_text() == "precious"
    assert "cannot be written" in capsys.readouterr().err


def test_sample_writes_a_picture_and_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Guidance(Likelihood("exact"), Constant(1.0)).save(tmp_path / "g.json")
    arguments = ["--guidance", str(tmp_path / "g.json"), *GAUSSIANS, "--num", "5", "--labels", "second", "--steps", "6"]
    assert sample_main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "18 network evaluations per sample, 0 failed" in capsys.readouterr().out
    with np.load(tmp_path / "out" / "samples.npz", allow_pickle=False) as file:
        assert file["x"].shape == (5, 2)
        assert file["labels"].tolist() == [1] * 5
        assert not file["failed"].any()
    assert (tmp_path / "out" / "samples.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "out" / "samples.npz").read_bytes()
    assert sample_main([*arguments, "--out", str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "samples.npz") as again, np.load(io.BytesIO(first)) as before:
        assert np.array_equal(again["x"], before["x"])


WRONG_SAMPLE = {
    "no samples": (["--num", "0"], "`--num` must be in 1..1000000, got 0"),
    "too many samples": (["--num", "99999999999"], "`--num` must be in 1..1000000, got 99999999999"),
    "no class": (["--labels", ","], "`--labels` must name a class, got none"),
    "unknown class": (["--labels", "third"], "`--labels` must be among first, second or 0..1, got 'third'"),
    "class out of range": (["--labels", "0,2"], "`--labels` must be among first, second or 0..1, got '2'"),
    "eta out of range": (["--eta", "1.5"], "`--eta` must be in [0, 1], got 1.5"),
    "negative seed": (["--seed", "-3"], "`--seed` must be a whole number in 0..2147483647, got -3"),
    "missing file": (["--guidance", "none.json"], "none.json cannot be read: No such file"),
    "no batch": (["--batch-size", "0"], "`--batch-size` must be >= 1, got 0"),
}


@pytest.mark.parametrize("name", WRONG_SAMPLE)
def test_sample_refuses_wrong_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG_SAMPLE[name]
    assert sample_main([*GAUSSIANS, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _file_with_weight(weight: str) -> str:
    return '{"format": "guidegym-guidance/1", "guide": null, "weight": ' + weight + "}"


BAD_FILES = {
    "truncated": ('{"format": "guidegym-guid', "is not valid JSON"),
    "future": ('{"format": "guidegym-guidance/2"}', "was written by a later version"),
    "unknown kind": (_file_with_weight('{"kind": "zigzag"}'), "unknown schedule 'zigzag'"),
    "NaN": (_file_with_weight('{"kind": "constant", "value": NaN}'), "must be finite"),
    "a key twice": (
        _file_with_weight('{"kind": "constant", "value": 1, "value": 2}'),
        "a key is repeated in one object",
    ),
    "wrong type": (_file_with_weight('{"kind": "constant", "value": "1"}'), "must be a finite number"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_guidance_file_is_exit_code_two(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = BAD_FILES[name]
    (tmp_path / "bad.json").write_text(text)
    assert sample_main([*GAUSSIANS, "--guidance", str(tmp_path / "bad.json")]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.strip().count("\n") == 0


def test_a_guidance_of_another_testbed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Guidance(Likelihood("robust"), Constant(1.0)).save(tmp_path / "g.json")
    assert sample_main([*GAUSSIANS, "--guidance", str(tmp_path / "g.json")]) == 2
    assert "model 'gaussians' has no classifier 'robust'; it has exact" in capsys.readouterr().err


def test_training_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_models_main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "must hold the four files" in capsys.readouterr().err
    assert train_models_main(["--only", "nothing"]) == 2
    assert "no network 'nothing'; known: judge, " in capsys.readouterr().err


OWN_TESTBED = """
import torch
from guidegym.testbeds.gaussians import load_gaussians

def testbed(device):
    return load_gaussians(device, dtype=torch.float64)
"""


def test_a_run_never_takes_the_place_of_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [
        *STUDY,
        "--steps",
        "3",
        "--samples",
        "3",
        "--confirm-samples",
        "3",
        "--trials",
        "2",
        "--out",
        str(tmp_path),
    ]
    assert tune_main(quick) == 0
    assert "note: all these trials are baselines" in capsys.readouterr().err
    before = (tmp_path / "results.json").read_bytes()
    for other in (["--seed", "3"], ["--seed", "3", "--study-name", "other"]):
        assert tune_main([*quick, *other]) == 2
        assert "holds the results of a run with seed 0, not seed 3; use another --out" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_bytes() == before
    (tmp_path / ".owner").write_bytes(b"\xfa\xfb")
    assert tune_main(quick) == 2
    assert ".owner is damaged; remove it to continue" in capsys.readouterr().err


def test_a_place_that_files_cannot_go_to_is_found_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.json").mkdir()
    assert tune_main([*STUDY, "--out", str(tmp_path)]) == 2
    assert "best.json is in the way: it must be a file" in capsys.readouterr().err
    assert tune_main([*STUDY, "--out", str(tmp_path / "what?")]) == 2
    assert "`--out` must not contain a '?'" in capsys.readouterr().err
    (tmp_path / "file").write_text("precious")
    assert train_models_main(["--out", str(tmp_path / "file")]) == 2
    assert "file cannot be written" in capsys.readouterr().err


def test_a_users_own_testbed_is_sampled_and_tuned(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN_TESTBED)
    out = tmp_path / "out"
    assert sample_main(["--testbed", str(path), "--num", "4", "--steps", "3", "--out", str(out)]) == 0
    study = Path(__file__).parent.parent / "studies" / "sigmoid_schedule.py"
    own = tmp_path / "own_study.py"
    own.write_text(study.read_text().replace("scope_of(testbed)", 'scope_of("gaussians")'))
    flags = ["--steps", "3", "--samples", "3", "--confirm-samples", "3", "--trials", "2", "--out", str(out)]
    assert tune_main(["--study", str(own), "--testbed", str(path), *flags]) == 0
    assert json.loads((out / "results.json").read_text())["settings"]["testbed"] == "gaussians"


def test_a_file_that_is_no_testbed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.py").write_text("")
    assert sample_main(["--testbed", str(tmp_path / "empty.py")]) == 2
    (tmp_path / "deaf.py").write_text("def testbed():\n    return 1\n")
    assert sample_main(["--testbed", str(tmp_path / "deaf.py")]) == 2
    (tmp_path / "wrong.py").write_text("def testbed(device):\n    return 1\n")
    assert sample_main(["--testbed", str(tmp_path / "wrong.py")]) == 2
    errors = capsys.readouterr().err
    assert "has no function `testbed`" in errors
    assert "must take one argument, the device" in errors
    assert "must return a guidegym.Model or a guidegym.Testbed, got int" in errors


def test_importing_the_command_leaves_the_function() -> None:
    import guidegym
    import guidegym.sample

    assert guidegym.sample(guidegym.load_testbed("gaussians"), labels=[0], sampler=guidegym.DDIM(2)).x.shape == (1, 2)
