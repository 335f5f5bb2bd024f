"""The file of class energies beside a folder of weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from guidegym.errors import FileFormatError
from guidegym.testbeds.class_energies import load_energies, save_energies

NUMBERS = torch.tensor([1.5, -2.25])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guide.safetensors").write_bytes(b"some weights")
    save_energies({"guide": NUMBERS}, tmp_path)
    return tmp_path


def test_energies_come_back_as_they_were(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = load_energies(folder, num_classes=2, device="cpu")
    torch.testing.assert_close(found, {"guide": NUMBERS})
    assert load_energies(tmp_path_factory.mktemp("empty"), num_classes=2, device="cpu") == {}


def _edit(folder: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((folder / "energies.json").read_text())
    change(content)
    (folder / "energies.json").write_text(json.dumps(content))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "not JSON": (lambda folder: (folder / "energies.json").write_text("{"), "energies.json is not valid JSON"),
    "another format": (
        lambda folder: _edit(folder, lambda content: content.update(format="other/1")),
        "must have format .* got 'other/1'",
    ),
    "too few": (
        lambda folder: _edit(folder, lambda content: content["classifiers"]["guide"].update(energies=[1.0])),
        "'guide' must have 2 finite energies, got \\[1.0\\]",
    ),
    "other weights": (lambda folder: (folder / "guide.safetensors").write_bytes(b"new"), "weights other than those of 'guide'"),
    "no weights": (lambda folder: (folder / "guide.safetensors").unlink(), "'guide', whose guide.safetensors is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_does_not_fit_is_refused(name: str, folder: Path) -> None:
    spoil, said = WRONG[name]
    spoil(folder)
    with pytest.raises(FileFormatError, match=said):
        load_energies(folder, num_classes=2, device="cpu")
