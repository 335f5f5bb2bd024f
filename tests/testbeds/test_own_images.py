"""Images of one's own: from a folder by class to networks, a testbed by its folder, and references."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import guidegym as gg
from guidegym.networks import Judge
from guidegym.sample import main as sample
from guidegym.testbeds.folder_files import ImageFile, list_folder
from guidegym.testbeds.folder_images import read_images
from guidegym.train_models import main as train
from guidegym.tune import main as tune

CLASSES = ("blue", "green", "red")


def _images(folder: Path, *, num: int = 30, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Path:
    """Write noisy images, each class of its own brightness, or colour."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(num):
            pixels = random.integers(0, 60, (size[1], size[0], 3))
            pixels[..., 2 - label] += 180
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(folder / name / f"{number}.png")
    return folder


def test_images_are_cropped_resized_and_split_alike_every_time(tmp_path: Path) -> None:
    folder = _images(tmp_path / "photos")
    listing = list_folder(folder)
    assert listing.class_names == CLASSES
    assert (len(listing.train), len(listing.test)) == (75, 15)
    assert list_folder(folder) == listing
    images, labels = read_images(listing.train, image_size=8, channels=3)
    assert images.shape == (75, 3, 8, 8) and images.dtype == torch.uint8
    brightest = images.float().mean(dim=(2, 3)).argmax(dim=1)
    assert torch.equal(brightest, 2 - labels)
    # The crop is the middle: a white frame at the sides of a wide image is not seen.
    wide = np.full((16, 48, 3), 255, np.uint8)
    wide[:, 16:32] = 0
    Image.fromarray(wide).save(folder / "red" / "wide.png")
    (file,) = [one for one in list_folder(folder).part("all") if one.path.name == "wide.png"]
    assert int(read_images([file], image_size=8, channels=3)[0].max()) < 40  # of 255, from the edges


def test_separate_test_images_and_grey_ones(tmp_path: Path) -> None:
    _images(tmp_path / "photos" / "train", num=4, mode="L")
    _images(tmp_path / "photos" / "test", num=2, mode="L")
    listing = list_folder(tmp_path / "photos")
    assert (len(listing.train), len(listing.test)) == (12, 6)
    assert read_images(listing.test, image_size=12, channels=1)[0].shape == (6, 1, 12, 12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all networks trained for a few steps on RGB images of 16 x 16."""
    home = tmp_path_factory.mktemp("own")
    folder = _images(home / "photos", num=100)
    flags = ["--data", str(folder), "--image-size", "16", "--steps", "3", "--out", str(home / "w")]
    assert train(flags) == 0
    return home


@pytest.mark.slow
def test_every_network_trains_and_the_folder_is_a_testbed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    testbed = gg.load_testbed(str(trained / "w"))
    assert testbed.event_shape == (3, 16, 16) and testbed.class_names == CLASSES
    assert len(testbed.judges) == 4
    assert {"time_dependent", "self_calibrated_all", "jem", "gmmc_joint", "robust_time"} <= set(testbed.classifiers)
    assert set(testbed.class_energies) == set(testbed.classifiers)
    assert {"conditional", "conditional_all"} <= set(testbed.conditionals)
    assert json.loads((trained / "w" / "testbed.json").read_text())["classes"] == list(CLASSES)
    flags = ["--testbed", str(trained / "w"), "--steps", "4"]
    sizes = ["--trials", "2", "--samples", "2", "--confirm-samples", "2"]
    assert tune(["--study", "sigmoid_schedule", *flags, *sizes, "--out", str(trained / "found")]) in (0, 1)
    assert sample([*flags, "--num", "3", "--out", str(trained / "samples")]) == 0
    assert "3 samples, accuracy under the judge" in capsys.readouterr().out


@pytest.mark.slow
def test_a_rerun_goes_on_and_other_images_are_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (trained / "w").glob("*.safetensors")}
    assert train(["--testbed", str(trained / "w"), "--only", "judge", "--steps", "3"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (trained / "w").glob("*.safetensors")}
    assert {name for name in before if before[name] == after[name]} >= set(before) - {"judge.safetensors"}
    others = _images(trained / "others", num=100, size=(16, 16))
    capsys.readouterr()
    assert train(["--data", str(others), "--image-size", "16", "--out", str(trained / "w"), "--steps", "1"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "holds networks trained on other images of these classes: use another `--out`" in said[0]


@pytest.mark.slow
def test_references_are_cached_by_what_is_in_the_folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testbed = gg.load_testbed(str(trained / "w"))
    first = gg.references_from_folder(trained / "photos", testbed, kept=20)
    assert first.features.shape[:2] == (3, 20)
    reads: list[int] = []

    def counted(files: Sequence[ImageFile], **given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        reads.append(len(files))
        return read_images(files, **given)

    monkeypatch.setattr(
        "guidegym.testbeds.folder_references.read_images",
        counted,
    )
    again = gg.references_from_folder(trained / "photos", testbed, kept=20)
    assert reads == [] and torch.equal(first.features, again.features)
    Image.new("RGB", (16, 16), "red").save(trained / "photos" / "red" / "0.png")
    changed = gg.references_from_folder(trained / "photos", testbed, kept=20)
    assert len(reads) == 1 and not torch.equal(first.pooled[0], changed.pooled[0])
    # With them, a model of one's own can be measured.
    measured = gg.Testbed.of(testbed, judge=testbed.judge, references=changed)
    assert measured.seen(torch.zeros(2, 3, 16, 16)).logits.shape == (2, 3)


def _said(flags: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train([*flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_wrong_input_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _images(tmp_path / "photos", num=4)
    flags = ["--image-size", "16", "--out", str(tmp_path / "w")]
    assert "`--data` must be a folder with one sub-folder of images per class" in _said(
        ["--data", "no", *flags], capsys
    )
    assert "`--image-size` needs `--data`" in _said(["--image-size", "16"], capsys)
    assert "leave out `--testbed`" in _said(["--data", str(folder), "--testbed", "digits", *flags], capsys)
    assert "multiple of 4" in _said(["--data", str(folder), "--image-size", "15"], capsys)
    assert "`--steps` must be a whole number >= 1" in _said(["--data", str(folder), *flags, "--steps", "0"], capsys)
    assert "must hold at least" in _said(["--data", str(folder), *flags], capsys)
    (folder / "empty").mkdir()
    assert "empty" in _said(["--data", str(folder), *flags], capsys)
    (folder / "empty" / "broken.png").write_bytes(b"not a picture")
    (folder / "empty" / "broken2.png").write_bytes(b"not a picture")
    (folder / "empty" / "broken3.png").write_bytes(b"not a picture")
    assert "broken" in _said(["--data", str(folder), *flags], capsys)
    assert not (tmp_path / "w").exists()
    with pytest.raises(ValueError, match="must be given for a judge by itself"):
        gg.references_from_folder(_images(tmp_path / "more", num=4), Judge(channels=(8, 8, 8), num_classes=3))
