"""Matrices of likeness: what a real text encoder makes of the shipped descriptions, and files that are none."""

import json
from pathlib import Path

import pytest
import torch

from guidegym import DataNotFoundError, FileFormatError, Similarity, Testbed
from guidegym.similarity import main
from guidegym.testbeds.similarities import SHIPPED, cosines, load_descriptions, load_similarity, shipped_descriptions


@pytest.mark.parametrize("testbed", ["fashion", "cifar10"])
def test_the_shipped_matrix_is_what_the_encoder_says(testbed: str, tmp_path: Path) -> None:
    out = tmp_path / "anew.json"
    assert main(["--testbed", testbed, "--out", str(out)]) == 0
    names = list(load_descriptions(shipped_descriptions(testbed)))
    shipped = load_similarity(SHIPPED / f"{testbed}-minilm.json", class_names=names)
    torch.testing.assert_close(load_similarity(out, class_names=names), shipped, rtol=0, atol=1e-3)
    assert len(names) == 10


def test_alike_garments_are_alike(fashion: Testbed) -> None:
    alike = dict(zip(fashion.class_names, Similarity("minilm").rows(fashion, torch.arange(10)), strict=True))
    names = fashion.class_names
    assert names[int(alike["shirt"].topk(2).indices[1])] == "T-shirt"
    assert names[int(alike["sneaker"].topk(2).indices[1])] == "ankle boot"
    for name, row in alike.items():
        assert names[int(row.argmax())] == name
        assert float(row.sum()) == pytest.approx(1)


def test_cosines_are_those_of_a_plain_loop() -> None:
    vectors = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = cosines(vectors)
    for i in range(4):
        for j in range(4):
            wanted = float(vectors[i] @ vectors[j]) / float(vectors[i].norm() * vectors[j].norm())
            assert float(got[i, j]) == pytest.approx(wanted)


def test_a_clip_model_in_a_folder_is_an_encoder(tmp_path: Path) -> None:
    """A tiny CLIP with random weights: the interface of a real one."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    folder = tmp_path / "clip"
    folder.mkdir()
    letters = [chr(code) for code in range(97, 123)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=8,
        bos_token_id=len(tokens) - 2,
        eos_token_id=len(tokens) - 1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({"model_type": "clip", "text_config": settings, "projection_dim": 8})
    )
    (tmp_path / "own.json").write_text(
        json.dumps({"format": "guidegym-descriptions/1", "classes": {"cat": "a cat", "dog": "a dog", "car": "a car"}})
    )
    out = tmp_path / "own-clip.json"
    flags = ["--descriptions", str(tmp_path / "own.json"), "--encoder", str(folder), "--out", str(out)]
    assert main(flags) == 0
    matrix = load_similarity(out, class_names=["cat", "dog", "car"])
    assert matrix.shape == (3, 3)
    assert json.loads(out.read_text())["encoder"] == "clip"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--testbed", "moons"], "no shipped descriptions for 'moons', only for cifar10, fashion"),
        (["--encoder", "nowhere"], "`--encoder` must be 'minilm' or the folder of a model, got 'nowhere'"),
        (["--descriptions", "{broken}"], "is not valid JSON"),
        (["--descriptions", "{missing}"], "no file"),
        (["--descriptions", "{twice}"], "the key 'cat' is repeated in one object"),
        (["--descriptions", "{unnamed}"], "two or more non-empty texts by class name"),
        (["--name", "../x"], "`--name` must be a plain name, got '../x'"),
        (["--encoder", "{model}"], "holds no CLIP or sentence-transformers model"),
        (["--out", "{folder}"], "`--out` must be a file, got the folder"),
    ],
)
def test_wrong_input_gets_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.json").write_text("{")
    head = '{"format": "guidegym-descriptions/1", "classes": '
    (tmp_path / "twice.json").write_text(head + '{"cat": "a", "dog": "b", "cat": "c"}}')
    (tmp_path / "unnamed.json").write_text(head + '{"cat": "a", "": "b"}}')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "modules.json").write_text('{"a": 1}')
    more = {name: tmp_path / f"{name}.json" for name in ("twice", "unnamed")} | {"model": tmp_path / "model"}
    paths = {**more, "broken": tmp_path / "broken.json", "missing": tmp_path / "missing.json", "folder": tmp_path}
    given = [flag.format(**paths) for flag in flags]
    assert main([*given, *([] if "--out" in given else ["--out", str(tmp_path / "out.json")])]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "must have format 'guidegym-similarity/1', got 'other'"),
        ({"classes": ["a", "c"]}, r"is for the classes \['a', 'c'\], not \['a', 'b'\]"),
        ({"cosines": [[1, 2], [2, 1]]}, "must be symmetric, in"),
        ({"cosines": [[1, 0.5], [0.4, 1]]}, "must be symmetric, in"),
        ({"cosines": [[1, "x"], [0.4, 1]]}, "must be a matrix of numbers"),
        ({"cosines": [[1.0]]}, "must be symmetric, in"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    good = {"format": "guidegym-similarity/1", "encoder": "x", "classes": ["a", "b"], "cosines": [[1, 0.5], [0.5, 1]]}
    path = tmp_path / "matrix.json"
    path.write_text(json.dumps(good))
    assert load_similarity(path, class_names=["a", "b"]).tolist() == [[1, 0.5], [0.5, 1]]
    path.write_text(json.dumps({**good, **changes}))
    with pytest.raises(FileFormatError, match=message):
        load_similarity(path, class_names=["a", "b"])
    with pytest.raises(DataNotFoundError, match="no file"):
        load_similarity(tmp_path / "none.json", class_names=["a", "b"])
