"""The files of a folder of images with one sub-folder per class, and which of them train and which test."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError

Part = Literal["train", "test", "all"]
PARTS: tuple[Part, ...] = get_args(Part)
TEST_FOLDERS = ("test", "val")
"""Names of the sub-folder beside ``train`` that holds the test images, the first that is there."""
HELD_OUT = 6
"""Without such a sub-folder, one image in so many is held out for tests, at least one of each class."""


class ImageFile(NamedTuple):
    """An image file and its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, in an order that depends on their names only and mixes the classes.

    Args:
        folder: The folder.
        class_names: Names of the sub-folders, sorted.
        train: Files to train on.
        test: Held-out files.
    """

    folder: Path
    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]

    def part(self, name: Part) -> tuple[ImageFile, ...]:
        """Return the files of one part, or all of them.

        Raises:
            GuideGymError: If there is no such part.
        """
        if name not in PARTS:
            raise GuideGymError(f"must be one of {', '.join(PARTS)}, got {name!r}", argument="part")
        return {"train": self.train, "test": self.test, "all": self.train + self.test}[name]

    def of_class(self, label: int, part: Part) -> int:
        """Return the number of files of a class in a part."""
        return sum(file.label == label for file in self.part(part))


def list_folder(folder: Path) -> Listing:
    """Find the images of a folder: those of its sub-folders, or of the sub-folders of its ``train`` and its ``test``.

    Images are files with a suffix that PIL reads, however deep; hidden files and folders are left out. A folder ``val`` counts as
    ``test`` if there is none. Without either, a sixth of each class is held out: the files whose hashed names come first, so that
    the same folder is always split alike.

    Raises:
        DataNotFoundError: If there is no such folder, it has no classes, or a class has no image.
        FileFormatError: If it cannot be read, or ``train`` and ``test`` have different classes.
    """
    try:
        if not folder.is_dir():
            raise DataNotFoundError(
                f"must be a folder with one sub-folder of images per class; there is no folder {folder}",
                argument="folder",
            )
        halves = _halves(folder)
        if halves is None:
            return _split(folder, _by_class(folder))
        train, test = (_by_class(half) for half in halves)
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        if isinstance(error, GuideGymError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileFormatError(f"is a folder that cannot be read: {folder}: {reason}", argument="folder") from error
    if different := sorted(train.keys() ^ test.keys()):
        raise FileFormatError(f"{halves[0]} and {halves[1]} must have the same classes; only one has '{different[0]}'")
    names = tuple(train)
    return Listing(folder, names, _mixed(halves[0], train), _mixed(halves[1], test))


def _halves(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of training and test images; None if there are no such two, or they are classes themselves."""
    train = folder / "train"
    tests = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    if not train.is_dir() or not tests or not _folders(train):
        return None
    return train, tests[0]


def _folders(folder: Path) -> list[Path]:
    """Return the sub-folders of a folder that are not hidden, sorted by name."""
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class."""
    classes = _folders(folder)
    if not classes:
        raise DataNotFoundError(f"must hold one sub-folder of images per class; {folder} has none", argument="folder")
    suffixes = _suffixes()
    found: dict[str, list[Path]] = {}
    for own in classes:
        files = (path for path in own.rglob("*") if path.suffix.lower() in suffixes)
        found[own.name] = [path for path in files if path.is_file() and not _is_hidden(path, own)]
        if not found[own.name]:
            raise DataNotFoundError(f"must have images in every sub-folder; {own} has none", argument="folder")
    return found


def _suffixes() -> set[str]:
    """Return the suffixes of files that PIL reads."""
    from PIL import Image  # here: sampling and tuning do not need it

    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def name_in(path: Path, folder: Path) -> bytes:
    """Return a file's name relative to a folder: the same on every machine, valid text or not."""
    return path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")


def _mixed(folder: Path, classes: Mapping[str, Sequence[Path]]) -> tuple[ImageFile, ...]:
    """Return the files of all classes in the order of their hashed names: the first rows are then no special ones."""
    files = [ImageFile(path, label) for label, own in enumerate(classes.values()) for path in own]
    return tuple(sorted(files, key=lambda file: hashlib.sha256(name_in(file.path, folder)).digest()))


def _split(folder: Path, classes: Mapping[str, Sequence[Path]]) -> Listing:
    """Return a listing that holds out the first files of each class, in the order of their hashed names."""
    files = _mixed(folder, classes)
    left = [max(len(own) // HELD_OUT, 1) for own in classes.values()]
    train: list[ImageFile] = []
    test: list[ImageFile] = []
    for file in files:
        (test if left[file.label] > 0 else train).append(file)
        left[file.label] -= 1
    return Listing(folder, tuple(classes), tuple(train), tuple(test))
