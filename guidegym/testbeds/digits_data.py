"""The 8x8 digits that come with scikit-learn, with a fixed split."""

import hashlib
import importlib
from types import ModuleType

import torch

from guidegym.errors import DataNotFoundError
from guidegym.testbeds.image_data import ImageData

NUM_TEST = 360
SPLIT_SEED = 0


def sklearn_datasets() -> ModuleType:
    """Return ``sklearn.datasets``: only training and classifier evaluation need it, and it takes a second to import.

    Raises:
        DataNotFoundError: If scikit-learn is not installed.
    """
    try:
        return importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise DataNotFoundError(
            "the digits and the photographs for evaluating classifiers come with scikit-learn:  "
            "pip install 'guidegym[digits]'"
        ) from error


def load_digits() -> ImageData:
    """Load 1437 training and 360 test images of 8x8 grey levels in ten classes; needs no download or file.

    scikit-learn's levels 0..16 are rescaled to 0..255.
    """
    bunch = sklearn_datasets().load_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    test, train = order[:NUM_TEST], order[NUM_TEST:]
    digest = hashlib.sha256()
    for rows in (train, test):
        digest.update(images[rows].numpy().tobytes())
        digest.update(labels[rows].numpy().tobytes())
    return ImageData(images[train], labels[train], images[test], labels[test], digest.hexdigest())
