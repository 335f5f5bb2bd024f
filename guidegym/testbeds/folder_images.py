"""Image files as tensors: cropped to their central square, resized, grey or RGB."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from tqdm import tqdm

from guidegym.errors import FileFormatError, GuideGymError
from guidegym.support.settings import whole_number
from guidegym.testbeds.folder_files import ImageFile, Listing
from guidegym.testbeds.image_data import ImageData

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST, LARGEST, MULTIPLE = 8, 96, 4
"""Image sizes that the networks are made for: they halve the size twice and have no lower resolution."""
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})
"""PIL's names of stored images without colours."""
SLOW = 5.0
"""Seconds of reading after which a progress bar appears."""


def check_image_size(image_size: int) -> int:
    """Return the height and width of images, a multiple of 4 from 8 to 96.

    Raises:
        GuideGymError: If it is not.
    """
    size = whole_number("image_size", image_size, least=SMALLEST, most=LARGEST)
    if size % MULTIPLE:
        raise GuideGymError(f"must be a multiple of {MULTIPLE}, got {size}", argument="image_size")
    return size


def channels_of(files: Sequence[ImageFile]) -> int:
    """Return 1 if all images are stored without colours, otherwise 3; only their headers are read.

    Raises:
        FileFormatError: If a file is not a readable image.
    """
    for file in files:
        with _opened(file.path) as image:
            if image.mode not in GREY_MODES:
                return 3
    return 1


def read_images(
    files: Sequence[ImageFile], *, image_size: int, channels: int
) -> tuple[UInt8[Tensor, " n channels size size"], Int[Tensor, " n"]]:
    """Read images and their classes.

    An image is turned as its EXIF data say, laid on white where it is transparent, cropped to its central square, and resized by
    a bicubic filter that averages over all pixels; one of the wanted size keeps its pixels.

    Args:
        files: The files.
        image_size: Height and width.
        channels: 1 for grey, 3 for RGB.

    Raises:
        FileFormatError: If a file is not a readable image.
    """
    images = np.empty((len(files), image_size, image_size, channels), dtype=np.uint8)
    bar = tqdm(files, desc="images", unit="image", delay=SLOW, leave=False)
    for row, file in enumerate(bar):
        images[row] = _pixels(file.path, image_size, channels)
    labels = torch.tensor([file.label for file in files], dtype=torch.long)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels


def load_listing(listing: Listing, *, image_size: int, channels: int) -> ImageData:
    """Read all images of a folder; see ``read_images``."""
    train, test = (
        read_images(part, image_size=image_size, channels=channels) for part in (listing.train, listing.test)
    )
    digest = hashlib.sha256()
    for rows in (*train, *test):
        digest.update(rows.numpy().tobytes())
    return ImageData(*train, *test, digest.hexdigest())


def _opened(path: Path) -> "Image":
    from PIL import Image  # here: sampling and tuning do not need it

    try:
        return Image.open(path)
    except Exception as error:  # decoders of damaged files raise anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FileFormatError:
    from PIL import UnidentifiedImageError

    known = isinstance(error, UnidentifiedImageError)
    reason = "no format that PIL knows" if known else str(error) or type(error).__name__
    return FileFormatError(f"{path} is not a readable image: {reason}")


def _pixels(path: Path, size: int, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an image's levels, of shape (size, size, channels)."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        try:
            plain = _plain(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
            side = min(plain.size)
            left, top = ((length - side) // 2 for length in plain.size)
            box = (left, top, left + side, top + side)
            resized = plain.resize((size, size), Image.Resampling.BICUBIC, box=box)
        except Exception as error:  # decoders of damaged files raise anything
            raise _unreadable(path, error) from error
    return np.asarray(resized, dtype=np.uint8).reshape(size, size, channels)


def _plain(image: "Image") -> "Image":
    """Return an image of 8-bit levels without transparency."""
    from PIL import Image

    if image.mode.startswith("I"):  # PIL would cut off what is above 255
        levels = np.asarray(image).astype(np.int64).clip(0, 65535) // 256
        return Image.fromarray(levels.astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its levels are floating-point numbers without a known range")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return image
