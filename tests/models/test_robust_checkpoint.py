"""Files of MadryLab's library ``robustness``, written here in its layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, resnet18

import guidegym as gg
from guidegym.errors import DataNotFoundError, FileFormatError

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)


class Ran:
    """An object whose unpickling runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _resnet(seed: int = 0, num_classes: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = resnet18(weights=None, num_classes=num_classes)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after a training: its buffers are in the file, too
            assert layer.running_mean is not None
            layer.running_mean.uniform_(-0.1, 0.1)
    return network


def _in_their_layout(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a training's wrapper around the network: parallel, with its normaliser and its attack."""
    shaped = {name: torch.tensor(one)[:, None, None] for name, one in (("new_mean", MEAN), ("new_std", STD))}
    tensors = {f"module.normalizer.{name}": one for name, one in shaped.items()}
    for part in ("module.model", "module.attacker.model"):
        tensors |= {f"{part}.{prefix}{name}": one.clone() for name, one in network.state_dict().items()}
    return tensors | {f"module.attacker.normalize.{name}": one.clone() for name, one in shaped.items()}


def _saved(path: Path, tensors: Mapping[str, Tensor], key: str = "model", **further: Any) -> Path:
    torch.save({key: tensors, "epoch": 104, "nat_prec1": 0.61, "optimizer": {"state": {}}, **further}, path)
    return path


def _without(tensors: Mapping[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: one for name, one in tensors.items() if not any(left in name for left in names)}


def _images() -> Tensor:
    return 2 * torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 1


def _expected(network: nn.Module) -> Tensor:
    logits: Tensor = gg.image_classifier(network.eval(), size=24, mean=MEAN, std=STD, classes=[4, 1])(_images())
    return logits


@pytest.mark.parametrize("layout", ["model", "state_dict", "shell", "old", "safetensors", "alone", "legacy"])
def test_a_file_in_their_layout_becomes_the_classifier_that_was_saved(layout: str, tmp_path: Path) -> None:
    tensors = _in_their_layout(_resnet(), "model." if layout == "shell" else "")
    path = tmp_path / ("robust.safetensors" if layout == "safetensors" else "robust.pt")
    if layout == "safetensors":
        save_file(tensors, path)
    elif layout == "alone":
        torch.save(tensors, path)
    elif layout == "legacy":
        torch.save({"model": tensors}, path, _use_new_zipfile_serialization=False)
    else:
        given = _without(tensors, "num_batches_tracked") if layout == "old" else tensors
        _saved(path, given, key=layout if layout == "state_dict" else "model")
    network = _resnet(seed=1)
    classifier = gg.load_robust_classifier(str(path), network, size=24, classes=[4, 1])
    assert not network.training
    torch.testing.assert_close(classifier(_images()), _expected(_resnet()))


def test_a_file_that_runs_code_when_unpickled_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = _saved(tmp_path / "robust.pt", _in_their_layout(_resnet()), schedule=Ran(ran))
    with pytest.raises(FileFormatError, match=r"holds pickled objects .* save {'model': its 'model'} again") as caught:
        gg.load_robust_classifier(path, _resnet())
    assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    network, path = _resnet(seed=1), tmp_path / "robust.pt"
    tensors = _in_their_layout(_resnet())
    before = {name: one.clone() for name, one in network.state_dict().items()}
    with pytest.raises(DataNotFoundError, match=r"no weight file .*none\.pt"):
        gg.load_robust_classifier(tmp_path / "none.pt", network)
    for content in (b"", b"a text", b"PK\x03\x04 a damaged file"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"robust.pt is not a readable file of torch.save"):
            gg.load_robust_classifier(path, network)
    (tmp_path / "robust.safetensors").write_bytes(b"a text")
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        gg.load_robust_classifier(tmp_path / "robust.safetensors", network)
    torch.save([1, 2], path)
    with pytest.raises(FileFormatError, match=r"must hold a dictionary .*, got list"):
        gg.load_robust_classifier(path, network)
    for given, said in (
        (_resnet().state_dict(), r"must hold `module.model.\*` and .*; it holds conv1.weight, bn1.weight"),
        (_without(tensors, "module.normalizer"), r"must hold .*`module.normalizer.new_mean` and `new_std`"),
        (_without(tensors, "model.fc"), "does not fit the network: it lacks fc.weight and 1 more"),
        (
            tensors | {"module.model.extra": torch.zeros(1)},
            "does not fit the network: the network lacks extra and 0 more",
        ),
        (_in_their_layout(_resnet(num_classes=4)), r"its fc.weight has shape \(4, 512\), the network's \(5, 512\)"),
        (_in_their_layout(mobilenet_v3_small(num_classes=5)), "does not fit the network: it lacks conv1.weight"),
    ):
        with pytest.raises(FileFormatError, match=said):
            gg.load_robust_classifier(_saved(path, given), network)
    with pytest.raises(gg.GuideGymError, match="`size` must be a whole number >= 1, got 0"):
        gg.load_robust_classifier(_saved(path, tensors), network, size=0)
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
