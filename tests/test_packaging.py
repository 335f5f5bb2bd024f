import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # the standard library has it from 3.11 on
    tomllib = pytest.importorskip("tomli")

import guidegym.agents
import guidegym.studies.sigmoid_schedule

import guidegym

ROOT = Path(__file__).parent.parent


def test_every_sub_package_is_listed_and_mapped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "guidegym").rglob("__init__.py")}
    assert set(settings["packages"]) == folders | {"guidegym.agents", "guidegym.studies"}
    assert settings["package-dir"]["guidegym.studies"] == "studies"


def test_versions_agree() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == guidegym.__version__


def test_top_level_folders_are_served_under_one_name_only() -> None:
    assert guidegym.studies.sigmoid_schedule.__name__ == "guidegym.studies.sigmoid_schedule"
    assert guidegym.agents.__name__ == "guidegym.agents"
    assert "studies" not in sys.modules
    assert "agents" not in sys.modules


def test_shipped_weights_are_small() -> None:
    files = list((ROOT / "guidegym" / "testbeds" / "weights").rglob("*.safetensors"))
    assert len(files) > 30
    # The 28x28 denoisers are the exception: a smaller network would sample worse; so is the network that reads embeddings of 384
    # numbers. References are no network.
    large = {path.stem for path in files if path.stat().st_size > 1.5e6}
    assert large <= {"denoiser", "conditional", "conditional-5", "references", "text"}


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    copy = tmp_path / "copy"
    # A copy of what is tracked: building leaves folders behind that would find their way into the next wheel.
    tracked = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    build = "import setuptools.build_meta as b; print(b.build_sdist('dist'))"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=copy, capture_output=True)
    (source,) = (copy / "dist").glob("*.tar.gz")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path / "dist"), str(source)], check=True, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size < 60e6
    with zipfile.ZipFile(wheel) as opened:
        shipped = {name for name in opened.namelist() if name.endswith((".py", ".safetensors", ".json"))}
    sources = [*copy.glob("guidegym/**/*"), *copy.glob("agents/*.py"), *copy.glob("studies/*.py")]
    names = [path.relative_to(copy).as_posix() for path in sources if path.suffix in (".py", ".safetensors", ".json")]
    assert shipped == {name if name.startswith("guidegym/") else f"guidegym/{name}" for name in names}
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True, cwd=tmp_path
    )
    installed = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert installed == {"guidegym", "bin"}
    command = subprocess.run(
        [tmp_path / "site" / "bin" / "guidegym", "--version"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
    )
    assert command.stdout.strip() == guidegym.__version__
    code = (
        "import guidegym, guidegym.studies.sigmoid_schedule as s; print(guidegym.__file__); "
        "print(guidegym.load_testbed('fashion').num_classes, s.study().name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
    )
    assert str(tmp_path / "site") in done.stdout
    assert "10 sigmoid_schedule" in done.stdout
    _run_the_outside_examples(tmp_path / "outside", tmp_path / "site")


SHORT = {
    "sample": "--num 6 --out samples",
    "tune": "--trials 2 --steps 4 --samples 4 --confirm-samples 4 --out tuned",
    "train_agent": "--timesteps 600 --steps 4 --eval-episodes 8 --compare-episodes 16 --out agent",
}
"""Flags that keep the commands of the page short."""


def _run_the_outside_examples(folder: Path, site: Path) -> None:
    """Run the parts of ``docs/extending.md`` from a folder outside the checkout, by the installed wheel."""
    folder.mkdir()
    page = (ROOT / "docs" / "extending.md").read_text()
    *parts, use = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (folder / "my_parts.py").write_text("\n\n".join(parts))
    (folder / "use.py").write_text(use)
    (block,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    commands = [["use.py"]]
    for line in block.splitlines():
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"]
        commands.append([*words[1:], *SHORT[words[2].removeprefix("guidegym.")].split()])
    assert len(commands) == 1 + len(SHORT)
    # What was found is sampled again by the command that the search prints.
    again = "--import my_parts.py --guidance tuned/best.json --testbed gaussians --num 4"
    commands.append(["-m", "guidegym.sample", *again.split()])
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    said = []
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=env, check=False
        )
        assert done.returncode == 0, (command, done.stderr[-2000:])
        said.append(done.stdout)
    assert '"kind": "contrast"' in (folder / "contrast.json").read_text()
    assert "compact" in said[2]
    assert "--import my_parts.py --guidance tuned/best.json" in said[2]
    assert '"environment": "damped"' in (folder / "agent" / "agent.json").read_text()
    assert "acts in environment 'damped'" in said[3]
