"""Files: what killed runs leave is removed, one process holds a folder, and whatever may be wrong is said in one line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guidegym import FileFormatError, GuideGymError
from guidegym.errors import LONGEST_LINE, one_line
from guidegym.networks import UNet, load_network, save_network
from guidegym.support.files import (
    DAY,
    _sweep,
    only_one,
    parse_json,
    read_json,
    unfinished_prefix,
    write_atomically,
    write_or_remove,
)
from guidegym.support.interrupts import STOPS, hold_interrupts
from guidegym.support.tensor_files import digest_of_tensors, read_header, read_tensors


def _unfinished(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".guidegym-*"))


def test_what_a_killed_process_left_unfinished_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from guidegym.support import files\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomically(Path(sys.argv[1]) / 'out.json', b'half')"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(_unfinished(tmp_path)) == 1
    alive = tmp_path / f"{unfinished_prefix(tmp_path)}abc.part"  # this sweeps, and names a file of this process
    alive.write_bytes(b"half")
    assert _unfinished(tmp_path) == [alive.name]
    elsewhere = tmp_path / ".guidegym-otherhost-1-abc.part"
    elsewhere.write_bytes(b"half")
    _sweep.cache_clear()
    write_atomically(tmp_path / "out.json", b"whole")
    assert _unfinished(tmp_path) == sorted([alive.name, elsewhere.name])  # another machine's process may be alive
    os.utime(elsewhere, (time.time() - 2 * DAY,) * 2)
    _sweep.cache_clear()
    write_atomically(tmp_path / "out.json", b"whole")
    assert _unfinished(tmp_path) == [alive.name]
    assert (tmp_path / "out.json").read_bytes() == b"whole"


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with only_one(lock, busy="somebody is there"), pytest.raises(GuideGymError, match="somebody is there"):
        only_one(lock, busy="somebody is there").__enter__()
    with only_one(lock, busy="somebody is there"):
        pass


@pytest.mark.parametrize("number", STOPS)
def test_every_signal_that_asks_to_stop_is_held_until_a_safe_point(number: int) -> None:
    before = signal.getsignal(number)
    try:
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        with hold_interrupts() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), number)
            assert interrupted()
        signal.signal(number, signal.SIG_IGN)  # as nohup sets it
        with hold_interrupts() as interrupted:
            os.kill(os.getpid(), number)
            assert not interrupted()
    finally:
        signal.signal(number, before)


def test_a_terminal_that_hangs_up_stops_a_search_as_ctrl_c_does(tmp_path: Path) -> None:
    flags = ["--study", "sigmoid_schedule", "--testbed", "gaussians", "--trials", "4000", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "guidegym.tune", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "artifacts").is_dir() or not list((tmp_path / "artifacts").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues from there" in errors
    assert (tmp_path / "best.json").is_file()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 100_000, "nope", ""])
def test_json_that_is_none_gets_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"there (is not valid JSON|is nested too deeply)"):
        parse_json(text, "there")
    (tmp_path / "some.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"some\.json is"):
        read_json(tmp_path / "some.json")


def test_files_that_cannot_be_read_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="not UTF-8"):
        read_json(tmp_path / "bytes")
    with pytest.raises(FileFormatError, match="No such file"):
        read_json(tmp_path / "none")
    for name in ("none", "bytes", "pipe", "\ud800.st", "", "a" * 5000):
        for read in (read_header, read_tensors):
            with pytest.raises(FileFormatError, match="is not a readable safetensors file"):
                read(tmp_path / name)


def test_a_digest_tells_tensors_by_name_type_shape_and_every_bit() -> None:
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])}
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].double(), "b": base["b"]},
        {"a": base["a"][:, None], "b": base["b"]},
        {"a": torch.nextafter(base["a"], torch.tensor(9.0)), "b": base["b"]},
    ]
    assert len({digest_of_tensors(one) for one in (base, *others)}) == 5
    assert digest_of_tensors({"b": base["b"].clone(), "a": base["a"].clone()}) == digest_of_tensors(base)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"architecture": '{"name": "UNet", "config": null}'}, "must be an object with a `config`"),
        ({"architecture": "[" * 100_000}, "nested too deeply"),
        ({"architecture": '{"name": "UNet", "config": {"blocks": [[1]]}}'}, "settings that UNet does not take"),
        ({}, "is not valid JSON"),
    ],
)
def test_weights_with_damaged_metadata_get_one_line(tmp_path: Path, header: dict[str, str], said: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "guidegym-weights/1", "training": "{}", **header})
    with pytest.raises(FileFormatError, match=said) as caught:
        load_network(path)
    assert str(caught.value).isprintable()


def test_weights_that_are_no_finite_floats_get_one_line(tmp_path: Path) -> None:
    network = UNet(channels=(8, 8), blocks=1)
    path = tmp_path / "w.safetensors"
    save_network(network, path, metadata={}, dtype=torch.float32)
    header, tensors = read_tensors(path)
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "must be like torch.float32, got torch.int32": lambda value: value.int(),
        "must be finite": lambda value: value * torch.nan,
    }
    for said, change in changes.items():
        save_file({name: change(value) for name, value in tensors.items()}, path, metadata=header)
        with pytest.raises(FileFormatError, match=said):
            load_network(path)


def test_a_picture_of_an_earlier_run_does_not_pass_for_one_that_could_not_be_drawn(tmp_path: Path) -> None:
    path = tmp_path / "made" / "picture.png"
    write_or_remove(path, None)
    assert not path.parent.exists()
    write_or_remove(path, b"picture")
    assert path.read_bytes() == b"picture"
    write_or_remove(path, None)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(GuideGymError, match=r"picture\.png cannot be removed: "):
        write_or_remove(path, None)


@pytest.mark.parametrize("text", ["a\nb\tc\r\x1b[31m", "x" * 5000, "word " * 2000, "\ud800", "plain"])
def test_messages_are_one_bounded_line_that_a_terminal_can_show(text: str) -> None:
    line = one_line(f"no testbed {text!s}; known: fashion, digits")
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE
    assert line.endswith("known: fashion, digits")
    assert str(GuideGymError(text)) == one_line(text)
