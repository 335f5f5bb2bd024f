"""Robust classifiers from files of MadryLab's library ``robustness``, which is not needed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.models.classifier_of_images import ImageClassifier, image_classifier
from guidegym.support.settings import shown
from guidegym.support.tensor_files import read_tensors

NETWORK, NORMALISER = "model.", ("normalizer.new_mean", "normalizer.new_std")
"""Names of a file's tensors, after ``module.``: those of the network begin with the first."""


@torch.inference_mode(False)
def load_robust_classifier(
    path: str | Path,
    network: nn.Module,
    *,
    size: int | tuple[int, int] | None = None,
    classes: Sequence[int] | Tensor | None = None,
    head: str | None = None,
) -> ImageClassifier:
    """Load a classifier of MadryLab's library ``robustness``, such as ``imagenet_l2_3_0.pt``; see ``image_classifier``.

    The file holds, in ``model`` or ``state_dict``, the tensors of the network as ``module.model.*`` and the mean and standard
    deviation of its images as ``module.normalizer.*``; what belongs to the library's attack is left out.

    Args:
        path: The file, of ``torch.save`` or safetensors. Only tensors and plain values are read; nothing is unpickled.
        network: The network with random weights, such as ``torchvision.models.resnet50()`` for files of ImageNet; the weights
            are loaded into it, and it is in evaluation mode then.
        size: Height and width of the network's images, or one number for both; None for the samples' own.
        classes: Which of the network's outputs is each class of the model; None if they are the same.
        head: Name of the network's last layer, for judges; None for its last ``nn.Linear``.

    Raises:
        DataNotFoundError: If there is no such file.
        FileFormatError: If it is of another layout, holds other pickled objects, or does not fit the network; the network is
            unchanged then.
        GuideGymError: If one of the other arguments is not as above.
    """
    if not isinstance(network, nn.Module):
        raise GuideGymError(f"must be a torch.nn.Module, got {shown(network)}", argument="network")
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"no weight file {path}")
    tensors = _tensors(path)
    weights = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    if not weights or not tensors.keys() >= set(NORMALISER):
        names = ", ".join([*tensors][:3]) or "nothing"
        raise FileFormatError(
            f"{path} must hold `module.model.*` and `module.normalizer.new_mean` and `new_std`, as files of robustness do; "
            f"it holds {names}"
        )
    if network.state_dict().keys().isdisjoint(weights):
        # A network that is not one of the library's own has a shell there, which is called `model` as well.
        weights = {name.removeprefix(NETWORK): value for name, value in weights.items()}
    mean, std = (tensors[name].flatten().tolist() for name in NORMALISER)
    classifier = image_classifier(network, size=size, mean=mean, std=std, classes=classes, head=head)
    _check_fit(path, weights, network)
    network.load_state_dict(weights, strict=False)  # files of old versions lack the counts of batches
    network.eval()
    return classifier


def _tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, without the ``module.`` of their names."""
    held: Any = read_tensors(path)[1] if path.suffix == ".safetensors" else _read(path)
    for key in ("model", "state_dict"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
            break
    if not isinstance(held, Mapping):
        raise FileFormatError(
            f"{path} must hold a dictionary with the tensors as its `model`, got {type(held).__name__}"
        )
    return {str(name).removeprefix("module."): one for name, one in held.items() if isinstance(one, Tensor)}


def _read(path: Path) -> Any:
    """Return what ``torch.save`` wrote, if it is made of tensors and plain values."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may cause any error
        said = str(error)
    # Damaged files cause errors of the same type, which name no object.
    if pickled := re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", said):
        raise FileFormatError(
            f"{path} holds pickled objects ({pickled[1]}), and unpickling runs code: if you trust it, read it by torch.load "
            "with weights_only=False elsewhere and save {'model': its 'model'} again, or the tensors as a .safetensors file"
        )
    raise FileFormatError(f"{path} is not a readable file of torch.save: it is damaged, or another kind of file")


def _check_fit(path: Path, weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Check that a file has exactly a network's tensors.

    Raises:
        FileFormatError: If not, with the first difference.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    further = [name for name in weights if name not in own]
    if missing or further:
        said = [f"it lacks {missing[0]} and {len(missing) - 1} more"] if missing else []
        said += [f"the network lacks {further[0]} and {len(further) - 1} more"] if further else []
        raise FileFormatError(f"{path} does not fit the network: {'; '.join(said)}")
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise FileFormatError(
                f"{path} does not fit the network: its {name} has shape {tuple(value.shape)}, the network's "
                f"{tuple(own[name].shape)}; is the number of classes the same?"
            )
