import sys
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
    assert len(files) == 5
    assert sum(path.stat().st_size for path in files) < 40e6
