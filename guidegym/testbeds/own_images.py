"""Testbeds of a user's own images: a folder of weights with a record of what they were trained on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from guidegym.diffusion import Process, VPProcess
from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.networks.noise_levels import PROCESSES, process_name
from guidegym.support.files import file_name, read_json, write_atomically
from guidegym.support.settings import check_name, shown
from guidegym.testbeds.folder_files import Listing, list_folder
from guidegym.testbeds.folder_images import channels_of, check_image_size, load_listing
from guidegym.testbeds.image_data import ImageData
from guidegym.testbeds.images import ImageSet, load_images_testbed
from guidegym.testbeds.testbed import Testbed

RECORD = "testbed.json"
FORMAT = "guidegym-own-images/1"
LEAST_CLASSES, LEAST_TRAIN = 2, 2
"""A classifier needs two classes, and references two images of each."""


@dataclass(frozen=True)
class OwnImages:
    """A user's images as a testbed is trained on them.

    Args:
        name: Name of the testbed: the folder's and the image size, so that it is none of the shipped testbeds'.
        class_names: One name per class, in the order of their numbers.
        event_shape: Channels, height and width, both the same.
        process: The noise process that the networks are trained on.
        folder: Where the images are.
        digest: SHA-256 of the images that the networks were trained on; empty before any is.
        home: The folder of the weights; None before they are written.
    """

    name: str
    class_names: tuple[str, ...]
    event_shape: tuple[int, int, int]
    process: Process
    folder: Path
    digest: str = ""
    home: Path | None = None

    def load(self, folder: Path | None = None) -> ImageData:
        """Read the images.

        Args:
            folder: Another folder with the same classes; None for the recorded one.

        Raises:
            DataNotFoundError: If there is no such folder.
            FileFormatError: If it has other classes, or the recorded one holds other images than the networks were trained on.
        """
        if folder is None and not self.folder.is_dir():
            raise DataNotFoundError(
                f"the images of testbed '{self.name}' were in {self.folder}, which is gone: give their folder by `--data`"
            )
        source = self.folder if folder is None else folder
        listing = list_folder(source)
        if listing.class_names != self.class_names:
            raise FileFormatError(
                f"{source} has the classes {shown(listing.class_names)}, not {shown(self.class_names)} of '{self.name}'"
            )
        data = load_listing(listing, image_size=self.event_shape[1], channels=self.event_shape[0])
        if folder is None and self.digest and data.digest != self.digest:
            raise FileFormatError(
                f"the images in {source} are not those that '{self.name}' was trained on, so its test images may be ones that "
                "were; give `--data` to use them all the same"
            )
        return data

    def image_set(self) -> ImageSet:
        """Return the parts of the testbed other than its networks."""
        return ImageSet(
            name=self.name,
            class_names=self.class_names,
            event_shape=self.event_shape,
            process=self.process,
            load=self.load,
            home=self.home,
        )

    def begun_in(self, out: Path) -> "OwnImages":
        """Return these images under the name that they have in a folder of weights, if it has a record.

        Raises:
            GuideGymError: If the folder's networks are trained on other classes or sizes.
        """
        if not holds_record(out):
            return self
        there = read_record(out)
        for what in ("class_names", "event_shape"):
            if getattr(there, what) != getattr(self, what):
                raise GuideGymError(
                    f"{out} holds networks of other images, {what} {shown(getattr(there, what))} and not "
                    f"{shown(getattr(self, what))}: use another `--out`"
                )
        return replace(self, name=there.name)

    def save(self, out: Path, data: ImageData) -> Path:
        """Write the record into a folder of weights.

        Raises:
            GuideGymError: If the folder has the record of other images.
        """
        path = out / RECORD
        if holds_record(out) and read_record(out).digest != data.digest:
            raise GuideGymError(f"{out} holds networks trained on other images of these classes: use another `--out`")
        content = {
            "format": FORMAT,
            "name": self.name,
            "classes": list(self.class_names),
            "event_shape": list(self.event_shape),
            "process": process_name(self.process),
            "images": {
                "folder": str(self.folder.resolve()),
                "sha256": data.digest,
                "train": len(data.train_images),
                "test": len(data.test_images),
            },
        }
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
        return path


def own_images(folder: Path, image_size: int) -> OwnImages:
    """Return the images of a folder as a testbed to train; only the names and headers of the files are read.

    Args:
        folder: The folder, see ``list_folder``.
        image_size: Height and width that the images are resized to, a multiple of 4 from 8 to 96.

    Raises:
        DataNotFoundError: If there is no such folder, it has no classes, or a class has too few images.
        FileFormatError: If it cannot be read.
        GuideGymError: If the image size is not allowed.
    """
    size = check_image_size(image_size)
    listing = list_folder(folder)
    _check_enough(listing)
    # A dash and the size: no shipped testbed has such a name, whatever the folder's.
    name = f"{file_name(folder.resolve().name).replace('=', '-') or 'images'}-{size}"
    channels = channels_of(listing.part("all"))
    return OwnImages(name, listing.class_names, (channels, size, size), VPProcess("cosine"), folder)


def _check_enough(listing: Listing) -> None:
    if len(listing.class_names) < LEAST_CLASSES:
        raise DataNotFoundError(
            f"must have at least {LEAST_CLASSES} classes; {listing.folder} has only '{listing.class_names[0]}'",
            argument="folder",
        )
    for label, name in enumerate(listing.class_names):
        if (count := listing.of_class(label, "train")) < LEAST_TRAIN:
            raise DataNotFoundError(
                f"must have at least {LEAST_TRAIN} images of each class to train on, beside those held out for tests; "
                f"'{name}' has {count}",
                argument="folder",
            )


def holds_record(folder: Path) -> bool:
    """Return whether a folder of weights says what it was trained on, as ``guidegym train-models --data`` has it say."""
    try:
        return (folder / RECORD).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def names_folder(where: str) -> bool:
    """Return whether a user names a folder of weights rather than a module: a folder, and no package."""
    try:
        return bool(where) and Path(where).is_dir() and not (Path(where) / "__init__.py").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_record(folder: Path) -> OwnImages:
    """Read what the networks of a folder were trained on.

    Raises:
        DataNotFoundError: If the folder does not say.
        FileFormatError: If the record is damaged.
    """
    path = folder / RECORD
    if not holds_record(folder):
        raise DataNotFoundError(f"{folder} has no {RECORD}: it was not written by `guidegym train-models --data`")
    content: Any = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise FileFormatError(f"{path} must have format {FORMAT!r}, got {shown(content['format'])}")
        name, images, shape = content["name"], content["images"], tuple(content["event_shape"])
        classes, process = content["classes"], PROCESSES[content["process"]]
        source, digest = Path(images["folder"]), images["sha256"]
        check_name(name)
        check_image_size(shape[1])
        texts = [digest, *classes] if isinstance(classes, list) else [None]
        sound = len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2] and len(classes) == len(set(classes))
        if not sound or len(classes) < LEAST_CLASSES or not all(isinstance(one, str) for one in texts):
            raise ValueError("event_shape or classes")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, FileFormatError) and str(path) in str(error):
            raise
        raise FileFormatError(f"{path} is not a record of a testbed's images: {error!r}") from error
    return OwnImages(name, tuple(classes), shape, process, source, digest, folder)


def load_own_testbed(folder: Path, device: torch.device, *, weights: Path | None = None) -> Testbed:
    """Load the testbed of a folder that ``guidegym train-models --data`` wrote.

    Args:
        folder: The folder.
        device: Device of the networks.
        weights: Folder with weights of the same images to use instead; what it lacks comes from ``folder``.

    Raises:
        DataNotFoundError: If the folder has no record, or lacks the denoiser, the judge, its references, or any guide.
        FileFormatError: If a file is damaged or belongs to other images.
    """
    return load_images_testbed(read_record(folder).image_set(), device, weights=weights)
