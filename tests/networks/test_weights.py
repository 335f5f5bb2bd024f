import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guidegym import DataNotFoundError, FileFormatError
from guidegym.networks import (
    DepthwiseJudge,
    Judge,
    MaxMahalanobisClassifier,
    MixerJudge,
    OffTheShelfClassifier,
    ResidualJudge,
    TimeDependentClassifier,
    UNet,
    load_network,
    network_digest,
    save_network,
)
from guidegym.networks.judges import BaseJudge
from guidegym.networks.weights import ARCHITECTURES, read_metadata

NETWORKS = [
    UNet(channels=(8, 16), blocks=1, embedding_dim=16),
    UNet(channels=(8, 16), blocks=1, embedding_dim=16, num_classes=3),
    TimeDependentClassifier(channels=(8, 16), embedding_dim=16),
    OffTheShelfClassifier(channels=(8, 16)),
    MaxMahalanobisClassifier(channels=(8, 16), scale=5.0),
    Judge(channels=(4, 8, 8), feature_dim=6),
    ResidualJudge(channels=(4, 8, 8), feature_dim=6),
    DepthwiseJudge(channels=(4, 8), feature_dim=6),
    MixerJudge(channels=8, layers=2, feature_dim=6),
]


def test_every_architecture_is_tried() -> None:
    assert {type(network).__name__ for network in NETWORKS} == set(ARCHITECTURES)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_digest_is_that_of_the_tensors(network: torch.nn.Module) -> None:
    own, other = network_digest(network), copy.deepcopy(network)
    assert network_digest(other) == own
    with torch.no_grad():
        next(other.parameters()).flatten()[-1] += 1e-6
    assert network_digest(other) != own
    assert len({own, network_digest(other.half()), network_digest(other.bfloat16())}) == 3


@pytest.mark.parametrize("judge", NETWORKS[5:], ids=lambda network: type(network).__name__)
def test_a_judge_classifies_its_own_features(judge: BaseJudge) -> None:
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    judge.eval()
    with torch.no_grad():
        features = judge.features(x)
        assert features.shape == (3, 6)
        torch.testing.assert_close(judge.classify(features), judge(x))
        torch.testing.assert_close(judge(x, torch.zeros(3)), judge(x))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_network_survives_the_round_trip(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path, metadata={"recipe": "test", "steps": 3}, dtype=torch.float32)
    loaded = load_network(path)
    assert read_metadata(path)["training"] == {"recipe": "test", "steps": 3}
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([3.0, 900.0])
    with torch.no_grad():
        torch.testing.assert_close(loaded(x, t), network.eval()(x, t), rtol=1e-4, atol=1e-5)


def test_bad_weight_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(DataNotFoundError, match="no weight file"):
        load_network(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_network(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(FileFormatError, match="must have format"):
        load_network(path)
    save_network(NETWORKS[3], path, metadata={}, dtype=torch.float16)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_network(path)
    path.write_bytes(whole.replace(b"OffTheShelfClassifier", b"OffTheShelfClassifieX"))
    with pytest.raises(FileFormatError, match="names the architecture 'OffTheShelfClassifieX'; known:"):
        load_network(path)
    path.write_bytes(whole.replace(b"head.bias", b"head.bIAS"))
    with pytest.raises(FileFormatError, match="does not fit OffTheShelfClassifier"):
        load_network(path)


def test_equal_networks_are_equal_files(tmp_path: Path) -> None:
    metadata = {"recipe": "test", "steps": 3}
    contents = set()
    for index in range(8):
        path = tmp_path / f"{index}.safetensors"
        save_network(NETWORKS[3], path, metadata=metadata, dtype=torch.float16)
        contents.add(path.read_bytes())
        again = load_network(path)
    assert len(contents) == 1  # the library's own order differs from call to call
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, NETWORKS[3].state_dict()[name].half().float(), rtol=0, atol=0)
