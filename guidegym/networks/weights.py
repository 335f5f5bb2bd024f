"""Weight files: safetensors with the architecture and the training record in their metadata. Nothing is unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import save
from torch import nn

from guidegym.errors import DataNotFoundError, FileFormatError
from guidegym.networks.classifiers import MaxMahalanobisClassifier, OffTheShelfClassifier
from guidegym.networks.judges import DepthwiseJudge, Judge, MixerJudge, ResidualJudge
from guidegym.networks.time_dependent import TimeDependentClassifier
from guidegym.networks.unet import UNet
from guidegym.support.files import parse_json, write_atomically
from guidegym.support.settings import shown
from guidegym.support.tensor_files import digest_of_tensors, read_header, read_tensors

FORMAT = "guidegym-weights/1"
ARCHITECTURES: dict[str, type[nn.Module]] = {
    architecture.__name__: architecture
    for architecture in (
        UNet,
        TimeDependentClassifier,
        OffTheShelfClassifier,
        MaxMahalanobisClassifier,
        Judge,
        ResidualJudge,
        DepthwiseJudge,
        MixerJudge,
    )
}


def in_order(content: bytes) -> bytes:
    """Return the same safetensors file with the keys of its header sorted.

    The library writes metadata in varying order; files are identified by their digests, so equal networks must give equal
    files.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps tensors aligned
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


_DIGESTS: WeakKeyDictionary[nn.Module, tuple[object, str]] = WeakKeyDictionary()


def network_digest(network: nn.Module) -> str:
    """Return a digest of a network's tensors and their names; it is equal for equal networks only."""
    tensors = [*network.parameters(), *network.buffers()]
    if any(one.is_inference() for one in tensors):  # their changes are not counted
        return digest_of_tensors(network.state_dict())[:16]
    stamp = [(one.data_ptr(), one._version) for one in tensors]
    if network not in _DIGESTS or _DIGESTS[network][0] != stamp:
        _DIGESTS[network] = stamp, digest_of_tensors(network.state_dict())[:16]
    return _DIGESTS[network][1]


def save_network(network: nn.Module, path: Path, *, metadata: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Write a network's weights, its architecture and its metadata to one safetensors file, atomically.

    Args:
        network: One of the shipped architectures, with its settings as ``config``.
        path: The file.
        metadata: JSON-serialisable facts about the training.
        dtype: Floating type on disk; half precision halves the file.
    """
    tensors = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in network.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "architecture": json.dumps({"name": type(network).__name__, "config": network.config}),
        "training": json.dumps(dict(metadata)),
    }
    write_atomically(path, in_order(save(tensors, metadata=header)))


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the architecture and training record of a weight file, without reading the weights.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is not a weight file of this format.
    """
    if not path.is_file():
        raise DataNotFoundError(f"no weight file {path}")
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise FileFormatError(f"{path} must have format {FORMAT!r}, got {header.get('format')!r}")
    found = {key: parse_json(header.get(key, ""), f"{path}: metadata `{key}`") for key in ("architecture", "training")}
    architecture = found["architecture"]
    if not isinstance(architecture, dict) or not isinstance(architecture.get("config"), dict):
        raise FileFormatError(
            f"{path}: metadata `architecture` must be an object with a `config`, got {shown(architecture)}"
        )
    return found


@torch.inference_mode(False)
def load_network(path: Path, *, device: torch.device | str = "cpu") -> nn.Module:
    """Build the network that a weight file describes and load its weights: float32, evaluation mode, frozen.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is not a weight file, names an unknown architecture, or its tensors do not fit it.
    """
    architecture = read_metadata(path)["architecture"]
    name = architecture.get("name")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise FileFormatError(f"{path} names the architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    try:
        config = {
            key: tuple(value) if isinstance(value, list) else value for key, value in architecture["config"].items()
        }
        network = ARCHITECTURES[name](**config)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileFormatError(f"{path} has settings that {name} does not take: {error}") from error
    tensors = read_tensors(path)[1]
    wanted = network.state_dict()
    for key, value in tensors.items():
        if key in wanted and value.is_floating_point() != wanted[key].is_floating_point():
            raise FileFormatError(f"{path}: tensor '{key}' must be like {wanted[key].dtype}, got {value.dtype}")
        if not bool(value.isfinite().all()):
            raise FileFormatError(f"{path}: tensor '{key}' must be finite")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise FileFormatError(f"{path} does not fit {name}: {str(error).splitlines()[0]}") from error
    # Channels-last is the faster layout for convolutions on both CPU and GPU tensor cores.
    return network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
