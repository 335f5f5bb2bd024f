"""The classifier of noisy images, and the scalar energy that lets it represent a score."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guidegym.errors import GuideGymError
from guidegym.networks.blocks import ResidualBlock, TimestepEmbedding
from guidegym.networks.config import configured
from guidegym.networks.noise_levels import check_process_name, signal_and_noise, to_unit_variance

LEAST_NOISE = 0.05
"""Lower bound on the share of noise that divides the energy's scalar product, which bounds its gradient at low noise."""


class EnergyHead(nn.Module):
    r"""A scalar of the noisy image, the same for all classes, whose gradient has the form of a denoiser.

    .. math:: g(x_t, t) = -\tfrac12 \|x_t\|^2 + \frac{\langle x_t, U(x_t, t) \rangle}{\sigma_t}

    The first term is the log density of pure noise, to which every process tends; ``U`` is computed from the classifier's maps
    at both resolutions. Added to all logits, it changes :math:`\log \sum_y e^{f_y}` but no class probability.

    Args:
        image_channels: Channels of the image.
        channels: Channels of the classifier's maps at the higher and at the lower resolution.
    """

    def __init__(self, *, image_channels: int, channels: tuple[int, int]) -> None:
        super().__init__()
        high, low = channels
        self.expand = nn.ConvTranspose2d(low, high, 4, stride=2, padding=1)
        self.out = nn.Conv2d(2 * high, 4 * image_channels, 3, padding=1)
        # Initialised as the density of pure noise.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(
        self,
        x_t: Float[Tensor, " batch channels height width"],
        high: Float[Tensor, " batch high rows columns"],
        low: Float[Tensor, " batch low fewer_rows fewer_columns"],
        sigma: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Return the scalar of each row, in at least single precision, as it is a sum over all pixels.

        Args:
            x_t: Noisy images of unit variance.
            high: The classifier's maps at half the image's height and width.
            low: Its maps at a quarter.
            sigma: Share of noise of each row.
        """
        maps = torch.cat([high, functional.silu(self.expand(low))], dim=1)
        direction = functional.pixel_shuffle(self.out(maps), 2)
        wide = torch.promote_types(x_t.dtype, torch.float32)
        rows = x_t.to(wide).flatten(1)
        product = (rows * direction.to(wide).flatten(1)).sum(dim=1)
        return product / sigma.to(wide).clamp_min(LEAST_NOISE) - rows.square().sum(dim=1) / 2


@configured
class TimeDependentClassifier(nn.Module):
    r"""A classifier with logits :math:`f(x_t, t)` of a noisy image with known noise level.

    Its group normalisations remove the scale of the image, and with it the radial part of the score: a network that is to
    represent a score has an unnormalised scalar added to all logits (``energy``).

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels at the higher and the lower resolution.
        embedding_dim: Length of the time embedding.
        process: Process that it is trained on, by name in ``noise_levels.PROCESSES``; empty for a variance-preserving
            process that the network does not need to know.
        energy: Whether an ``EnergyHead`` is added to all logits; it needs ``process``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (32, 64),
        embedding_dim: int = 64,
        process: str = "",
        energy: bool = False,
    ) -> None:
        super().__init__()
        check_process_name("process", process)
        if energy and not process:
            raise GuideGymError("`energy` needs the name of a `process`, got none")
        self.process = process
        high, low = channels
        self.embed = TimestepEmbedding(high // 2, embedding_dim)
        self.stem = nn.Conv2d(4 * image_channels, high, 3, padding=1)
        self.high = ResidualBlock(high, high, embedding_dim=embedding_dim)
        self.reduce = nn.Conv2d(high, low, 3, stride=2, padding=1)
        self.low = nn.ModuleList(ResidualBlock(low, low, embedding_dim=embedding_dim) for _ in range(2))
        self.norm = nn.GroupNorm(8, low)
        self.head = nn.Linear(low, num_classes)
        self.energy = EnergyHead(image_channels=image_channels, channels=channels) if energy else None

    def forward(
        self,
        x_t: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``x_t`` at training timesteps ``t`` (0..999)."""
        x_t = to_unit_variance(self.process, x_t, t) if self.process else x_t
        embedding = self.embed(t)
        high = self.high(self.stem(functional.pixel_unshuffle(x_t, 2)), embedding)
        low = self.reduce(high)
        for block in self.low:
            low = block(low, embedding)
        low = functional.silu(self.norm(low))
        logits: Tensor = self.head(low.mean(dim=(2, 3)))
        if self.energy is None:
            return logits
        scalar: Tensor = self.energy(x_t, high, low, signal_and_noise(self.process, t)[1])
        return logits + scalar[:, None]
