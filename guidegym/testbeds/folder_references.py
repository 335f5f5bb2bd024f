"""References from a folder of images, cached beside the folder by what is in it."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.networks.weights import network_digest
from guidegym.support.files import file_name
from guidegym.support.settings import check_count, shown
from guidegym.testbeds.folder_files import ImageFile, Listing, Part, list_folder, name_in
from guidegym.testbeds.folder_images import channels_of, check_image_size, read_images
from guidegym.testbeds.images import KEPT_REFERENCES
from guidegym.testbeds.judge import JudgeNetwork
from guidegym.testbeds.references import References, load_references, references_from_images, save_references
from guidegym.testbeds.testbed import Testbed

CACHE = ".guidegym-references"
"""Folder of the cached references, beside the folder of images: inside it would be taken for a class."""
READING = 1
"""Version of how images are read and measured: change it with them."""


def references_from_folder(
    folder: str | Path,
    judge: Testbed | JudgeNetwork,
    *,
    image_size: int | None = None,
    class_names: Sequence[str] | None = None,
    channels: int | None = None,
    part: Part = "train",
    kept: int = KEPT_REFERENCES,
    identity: str = "",
    device: torch.device | str | None = None,
) -> References:
    """Return real images in a judge's features, to compare samples of a model with.

    The same references are read from a file the next time, until an image, the judge or an argument changes: the file is named by
    a digest of them all, and lies in ``.guidegym-references`` beside the folder. Where nothing can be written, a warning says so.

    Args:
        folder: Folder with one sub-folder of images per class, see ``list_folder``.
        judge: The judge, or a testbed that has one, whose image size, channels and classes are then used.
        image_size: Height and width of the judge's images, a multiple of 4 from 8 to 96.
        class_names: Names of the sub-folders in the order of the model's classes; None for sorted.
        channels: 1 for a judge of grey images, 3 for RGB; None for 1 if all images are stored without colours, otherwise 3.
        part: ``train`` for the images that networks are trained on, ``test`` for those that are held out, or ``all``.
        kept: Images of each class for kernel distances, at most the size of the smallest class.
        identity: A text that changes with the judge; needed only if it is not a torch module.
        device: Device of the judge and of the result; None for the judge's own.

    Raises:
        DataNotFoundError: If there is no such folder, it has no classes, or a class has no image.
        FileFormatError: If an image is unreadable.
        GuideGymError: If an argument does not fit the judge or the folder, or a class has fewer than two images.
    """
    check_count("kept", kept, least=1)
    folder, listing = Path(folder), list_folder(Path(folder))
    if isinstance(judge, Testbed):
        image_size, channels, class_names = _of_testbed(judge, image_size, channels, class_names)
        network, extractor = judge.judge, judge.references.extractor
        place = judge.device if device is None else torch.device(device)
    else:
        network, extractor = judge, _digest_of(judge, identity)
        place = _device_of(judge) if device is None else torch.device(device)
    if image_size is None:
        raise GuideGymError("must be given for a judge by itself", argument="image_size")
    size = check_image_size(image_size)
    names = listing.class_names if class_names is None else tuple(class_names)
    files = _in_order(listing, names, part)
    depth = channels_of(files) if channels is None else channels
    if depth not in (1, 3):
        raise GuideGymError(f"must be 1 (grey) or 3 (RGB), got {shown(depth)}", argument="channels")
    path = _cache_file(listing, files, [READING, extractor, size, depth, list(names), kept])
    try:
        return load_references(path, extractor=extractor, device=place)
    except DataNotFoundError:
        pass
    except FileFormatError as error:
        warnings.warn(f"cached references are computed anew: {error}", UserWarning, stacklevel=2)
    images, labels = read_images(files, image_size=size, channels=depth)
    found = references_from_images(
        network, images, labels, num_classes=len(names), kept=kept, extractor=extractor, device=place
    )
    try:
        save_references(found, path)
    except GuideGymError as error:
        warnings.warn(f"references are not cached: {error}", UserWarning, stacklevel=2)
        return replace(found, features=found.features.float()).to(place)
    return load_references(path, extractor=extractor, device=place)  # as the next call reads them, to the last bit


def _of_testbed(
    testbed: Testbed, image_size: int | None, channels: int | None, class_names: Sequence[str] | None
) -> tuple[int, int, Sequence[str]]:
    """Return a testbed's image size, channels and classes, which other ones may not contradict."""
    shape = testbed.event_shape
    if len(shape) != 3 or shape[1] != shape[2]:
        raise GuideGymError(f"must be a testbed of square images, got samples of shape {shape}", argument="judge")
    for name, given, own in (("image_size", image_size, shape[1]), ("channels", channels, shape[0])):
        if given not in (None, own):
            raise GuideGymError(f"must be {own}, as of testbed '{testbed.name}', got {shown(given)}", argument=name)
    return shape[1], shape[0], testbed.class_names if class_names is None else class_names


def _digest_of(judge: JudgeNetwork, identity: str) -> str:
    """Return what identifies a judge: a text of the user's, and the digest of a torch module's weights."""
    if isinstance(judge, nn.Module):
        return f"{identity} {network_digest(judge)}".lstrip()
    if not identity:
        raise GuideGymError("must be given for a judge that is not a torch module", argument="identity")
    return identity


def _device_of(judge: JudgeNetwork) -> torch.device:
    tensors = list(judge.parameters()) if isinstance(judge, nn.Module) else []
    return tensors[0].device if tensors else torch.device("cpu")


def _in_order(listing: Listing, names: Sequence[str], part: Part) -> tuple[ImageFile, ...]:
    """Return the files of a part, their classes numbered in the order of ``names``."""
    if sorted(names) != list(listing.class_names):
        raise GuideGymError(
            f"must be the sub-folders of {listing.folder}, {', '.join(listing.class_names)}, in any order; got "
            f"{shown(tuple(names))}",
            argument="class_names",
        )
    number = {listing.class_names.index(name): place for place, name in enumerate(names)}
    return tuple(ImageFile(file.path, number[file.label]) for file in listing.part(part))


def _cache_file(listing: Listing, files: Sequence[ImageFile], settings: Sequence[object]) -> Path:
    """Return where references are cached: by the settings, and by the names and bytes of the images."""
    digest = hashlib.sha256(json.dumps(list(settings)).encode())
    for file in files:
        try:
            content = hashlib.sha256(file.path.read_bytes()).hexdigest()
        except OSError as error:
            raise FileFormatError(f"{file.path} cannot be read: {error.strerror}") from error
        digest.update(name_in(file.path, listing.folder) + f"\0{file.label} {content}\n".encode())
    home = listing.folder.resolve()
    return home.parent / CACHE / f"{file_name(home.name)}-{digest.hexdigest()[:16]}.safetensors"
