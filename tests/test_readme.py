"""The README's blocks run as written."""

import json
import os
import re
import resource
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from guidegym import Guidance, load_testbed
from guidegym.evaluation.measuring.method import Method
from guidegym.search.loading import load_study
from guidegym.search.scoring import Scorer
from guidegym.search.tuning import RESERVED_SEEDS, first_fresh_row

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


def _block(language: str, text: str) -> str:
    """Return the one block of that language that contains ``text``."""
    found = [body for kind, body in BLOCKS if kind == language and text in body]
    assert len(found) == 1, f"{len(found)} blocks with {text!r}"
    return str(found[0])


def _table(text: str) -> dict[str, float]:
    """Return the KID of each method in a printed table."""
    lines = text.splitlines()
    rows = lines[2 : next(i for i, line in enumerate(lines) if line.startswith("best: "))]
    cells = [re.split(r"\s{2,}", row) for row in rows]
    return {name: float(kid.split()[0]) for name, kid, *_ in cells}


def _shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell block in ``folder`` with this interpreter's commands first on the path."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env={
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "CUDA_VISIBLE_DEVICES": "",
            **{name: value for name, value in os.environ.items() if name == "OMP_NUM_THREADS"},
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _run_main_job(folder: Path, flags: str = "") -> subprocess.CompletedProcess[str]:
    """Run the first block without its installation, which has happened, in an empty folder."""
    command = _block("bash", "guidegym.tune --study sigmoid_schedule\n")
    assert command.startswith("pip install -e . && ")
    return _shell(f"{command.removeprefix('pip install -e . && ').strip()} {flags}", folder)


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the first block with a shorter search, confirmed on fewer samples."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, _run_main_job(folder, "--trials 8 --samples 2 --confirm-samples 4 --steps 7")


MainJob = tuple[Path, "subprocess.CompletedProcess[str]"]


def _check_baselines(printed: str) -> None:
    """Check that the baselines have the README's numbers: their schedules and samples do not hang on the search."""
    shown = _block("text", "Frechet")
    assert printed.splitlines()[0].split() == shown.splitlines()[0].split()
    printed_kid, shown_kid = _table(printed), _table(shown)
    baselines = {name for name in shown_kid if not name.startswith("trial")}
    assert baselines == {name for name in printed_kid if not name.startswith("trial")}
    # Another processor rounds differently, and which trials come up may hang on it.
    assert {name: printed_kid[name] for name in baselines} == pytest.approx(
        {name: shown_kid[name] for name in baselines}, rel=0.1
    )


@pytest.mark.slow
def test_the_main_job_prints_a_table_like_the_readme_s(main_job: MainJob) -> None:
    _, done = main_job
    assert done.returncode == 0, done.stderr
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak < 3.0, f"{peak:.1f} GiB"
    shown = _block("text", "Frechet")
    assert done.stdout.splitlines()[0].split() == shown.splitlines()[0].split()
    printed = {name for name in _table(done.stdout) if not name.startswith("trial")}
    assert printed == {name for name in _table(shown) if not name.startswith("trial")}
    methods = json.loads((main_job[0] / "runs" / "sigmoid_schedule-fashion" / "results.json").read_text())["methods"]
    assert any(one["method"].startswith("trial") for one in methods)
    assert {one["method"]: one["delta_to_best"]["low"] > 0 for one in methods}["unguided"]


@pytest.mark.slow
def test_methods_of_the_readme_s_table_have_their_numbers_when_they_are_sampled_again() -> None:
    """What the whole search found, and a baseline, on the very samples of the table."""
    page = (ROOT / "docs" / "studies.md").read_text()
    (said,) = re.findall(r"The best is `(.*?)`", page[page.index("### sigmoid_schedule\n") :].split("\n### ")[0])
    study, testbed = load_study("sigmoid_schedule"), load_testbed("fashion", device=torch.device("cpu"))
    num = study.confirm_per_class
    scorer = Scorer(testbed, RESERVED_SEEDS + 1, num, first_row=first_fresh_row(num * testbed.num_classes))
    guidance = Guidance.from_json(json.dumps({"format": "guidegym-guidance/1", **json.loads(said)}))
    known = {one.name: one.guidance for one in study.baselines}
    methods = [
        Method(name, own, study.sampler) for name, own in (("best", guidance), ("constant 3", known["constant 3"]))
    ]
    best, constant = scorer.measure(methods)
    shown = _table(_block("text", "Frechet"))
    assert best.sound
    assert best.kid == pytest.approx(min(shown.values()), rel=0.02)
    assert constant.kid == pytest.approx(shown["constant 3"], rel=0.02)
    baselines = {name: kid for name, kid in shown.items() if not name.startswith("trial")}
    assert best.kid < min(constant.kid, *baselines.values())


@pytest.mark.full
def test_the_main_job_to_its_end_finds_a_schedule_that_beats_every_baseline_on_fresh_seeds(tmp_path: Path) -> None:
    """Run the block word for word."""
    began = time.monotonic()
    done = _run_main_job(tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 600, "five minutes on two idle cores, with room for a busy machine"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak < 3.0, f"{peak:.1f} GiB"
    _check_baselines(done.stdout)
    results = json.loads((tmp_path / "runs" / "sigmoid_schedule-fashion" / "results.json").read_text())
    assert results["confirmed_on_fresh_seeds"]
    methods = {method["method"]: method for method in results["methods"]}
    kid = {name: method["kid"]["value"] for name, method in methods.items()}
    tuned = min(value for name, value in kid.items() if name.startswith("trial"))
    baselines = {name: value for name, value in kid.items() if not name.startswith("trial")}
    assert {name.split()[0] for name in baselines} == {"unguided", "constant", "thesis"}
    assert tuned < min(baselines.values())
    assert tuned < 0.1 * kid["unguided"]
    assert methods["unguided"]["delta_to_best"]["low"] > 0


def test_the_table_of_the_readme_is_that_of_the_recorded_run() -> None:
    recorded = json.loads((ROOT / "benchmarks" / "results" / "sigmoid_schedule-seed0.json").read_text())
    shown = _table(_block("text", "Frechet"))
    assert shown == pytest.approx({one["method"]: one["kid"]["value"] for one in recorded["methods"]}, rel=0.005)
    assert f"best: {recorded['best']} " in _block("text", "Frechet")


@pytest.mark.slow
def test_replay_and_python_blocks_run(main_job: MainJob) -> None:
    folder, _ = main_job
    replay = _shell(_block("bash", "--labels sneaker bag"), folder)
    assert replay.returncode == 0, replay.stderr
    assert (folder / "runs" / "replay" / "samples.png").is_file()
    (folder / "block.py").write_text(_block("python", "gg.load_testbed"))
    python = _shell("python block.py", folder)
    assert python.returncode == 0, python.stderr
    assert "torch.Size([3, 1, 28, 28])" in python.stdout
    assert (folder / "runs" / "by_hand.json").is_file()


@pytest.mark.slow
def test_the_dashboard_opens_on_the_study(main_job: MainJob) -> None:
    folder, _ = main_job
    command = _block("bash", "optuna-dashboard").strip().splitlines()[-1].split()
    program = str(Path(sys.executable).parent / command[0])
    server = subprocess.Popen(
        [program, *command[1:], "--port", "18089"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:18089/api/studies", timeout=5) as answer:
                    studies = json.load(answer)["study_summaries"]
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait()
    assert [study["study_name"] for study in studies] == ["sigmoid_schedule-fashion"]


def test_the_other_searches_run(tmp_path: Path) -> None:
    done = _shell(_block("bash", "--list"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best:" in done.stdout


def test_the_users_testbed_block_is_valid_and_complete() -> None:
    import ast
    import dataclasses

    from guidegym import Testbed

    tree = ast.parse(_block("python", "my_denoiser"))
    call = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Testbed"
    )
    given = {keyword.arg for keyword in call.keywords}
    needed = {
        field.name
        for field in dataclasses.fields(Testbed)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert given == needed | {"name", "classifiers", "clip", "device", "identity"}


def test_the_study_of_the_docs_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    blocks = dict(re.findall(r"```(python|bash)\n(.*?)```", page, flags=re.DOTALL))
    (tmp_path / "my_study.py").write_text(blocks["python"])
    done = _shell(blocks["bash"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "constant" not in done.stdout
    assert "one " in done.stdout


@pytest.mark.slow
def test_the_testbed_of_the_docs_is_measured(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testbeds.md").read_text()
    own = page[page.index("## Your own") :]
    (tmp_path / "my_testbed.py").write_text(re.findall(r"```python\n(.*?)```", own, flags=re.DOTALL)[0])
    done = _shell(re.findall(r"```bash\n(.*?)```", own, flags=re.DOTALL)[0], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "runs" / "mine" / "methods" / "results.json").read_text())["methods"]
    accuracies = {one["method"]: one["metrics"]["accuracy"]["value"] for one in found}
    assert accuracies["mine"] > 0.9
    assert abs(accuracies["unguided"] - 0.5) < 0.1


def test_the_environment_block_runs(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(_block("python", "gym.make_vec"))
    done = _shell("python block.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(64, 10) (64,)"


@pytest.mark.slow
def test_the_agent_block_runs(tmp_path: Path) -> None:
    done = _shell(_block("bash", "guidegym.train_agent"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the agent is ahead of itself distilled by" in done.stdout
    assert (tmp_path / "runs" / "agent" / "samples" / "samples.png").is_file()


@pytest.mark.slow
def test_the_measuring_block_runs(tmp_path: Path) -> None:
    done = _shell(_block("bash", "guidegym.evaluate"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "classifier-free" in done.stdout
    assert "prog_gamma_zero: holds" in done.stdout
    assert (tmp_path / "runs" / "measured" / "report.html").is_file()
    assert (tmp_path / "runs" / "reproduced" / "results.md").is_file()
