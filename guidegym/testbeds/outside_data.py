"""Out-of-distribution images for a testbed, from data shipped with the dependencies."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from guidegym.testbeds.digits_data import load_digits, sklearn_datasets
from guidegym.testbeds.image_data import to_unit_range

STRIDE = 7


def outside_images(
    x: Float[Tensor, " n channels height width"], *, num: int, seed: int = 0
) -> dict[str, Float[Tensor, " num channels height width"]]:
    """Return sets of out-of-distribution images in [-1, 1], at most ``num`` each.

    ``digits`` are scikit-learn's, resized (left out if the images have that size already: they are digits then);
    ``photographs`` are patches of its two sample photographs, downscaled so that a patch has content; ``interpolated`` are
    means of two images of the testbed; ``noise`` is uniform.

    Args:
        x: Images of the testbed, which give the size and the interpolated images.
        num: Number of images per set.
        seed: Seed of the random draws.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = x.shape[1:]
    found: dict[str, Tensor] = {}
    digits = to_unit_range(load_digits().train_images[:num])
    if x.shape[1:] != digits.shape[1:]:
        resized = functional.interpolate(digits, size=(height, width), mode="bilinear", align_corners=False)
        found["digits"] = resized.expand(-1, channels, -1, -1)
    found["photographs"] = _patches(height, width, num, generator).expand(-1, channels, -1, -1)
    pairs = torch.randint(len(x), (2, num), generator=generator)
    found["interpolated"] = (x.cpu()[pairs[0]] + x.cpu()[pairs[1]]) / 2
    found["noise"] = 2 * torch.rand(num, channels, height, width, generator=generator) - 1
    return {name: own.to(x) for name, own in found.items()}


def _patches(height: int, width: int, num: int, generator: torch.Generator) -> Float[Tensor, " num 1 height width"]:
    """Return random greyscale patches of the sample photographs."""
    patches = []
    for picture in sklearn_datasets().load_sample_images().images:
        grey = torch.from_numpy(picture.copy()).float().mean(dim=2)[None, None] / 127.5 - 1
        small = functional.interpolate(grey, scale_factor=0.25, mode="area", recompute_scale_factor=False)
        patches.append(functional.unfold(small, (height, width), stride=STRIDE)[0].T.reshape(-1, 1, height, width))
    whole = torch.cat(patches)
    return whole[torch.randperm(len(whole), generator=generator)[:num]]
