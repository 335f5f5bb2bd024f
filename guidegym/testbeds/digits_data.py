"""The 8x8 digits that come with scikit-learn, split once and for all."""

import hashlib

import torch

from guidegym.testbeds.image_data import ImageData

NUM_TEST = 360
SPLIT_SEED = 0


def load_digits() -> ImageData:
    """Load 1437 training and 360 test images of 8x8 grey levels in ten classes; no download, no file.

    scikit-learn has levels 0..16; they are spread over 0..255.
    """
    # Imported here: scikit-learn takes a second to import, and only training and measuring need the data.
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    test, train = order[:NUM_TEST], order[NUM_TEST:]
    digest = hashlib.sha256()
    for rows in (train, test):
        digest.update(images[rows].numpy().tobytes())
        digest.update(labels[rows].numpy().tobytes())
    return ImageData(images[train], labels[train], images[test], labels[test], digest.hexdigest())
