from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guidegym import DataNotFoundError, FileFormatError
from guidegym.networks import Judge, RobustClassifier, TimeDependentClassifier, UNet, load_network, save_network
from guidegym.networks.weights import read_metadata

NETWORKS = [
    UNet(channels=(8, 16), blocks=1, embedding_dim=16),
    TimeDependentClassifier(channels=(8, 16), embedding_dim=16),
    RobustClassifier(channels=(8, 16)),
    Judge(channels=(4, 8, 8), feature_dim=6),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_network_survives_the_round_trip(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path, metadata={"recipe": "test", "steps": 3}, dtype=torch.float32)
    loaded = load_network(path)
    assert read_metadata(path)["training"] == {"recipe": "test", "steps": 3}
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([3.0, 900.0])
    arguments = (x,) if isinstance(network, Judge) else (x, t)
    with torch.no_grad():
        torch.testing.assert_close(loaded(*arguments), network.eval()(*arguments), rtol=1e-4, atol=1e-5)


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
    save_network(NETWORKS[2], path, metadata={}, dtype=torch.float16)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_network(path)
    path.write_bytes(whole.replace(b"RobustClassifier", b"RobustClassifieX"))
    with pytest.raises(FileFormatError, match="names the architecture 'RobustClassifieX'; known are"):
        load_network(path)
    path.write_bytes(whole.replace(b"head.bias", b"head.bIAS"))
    with pytest.raises(FileFormatError, match="does not fit RobustClassifier"):
        load_network(path)
