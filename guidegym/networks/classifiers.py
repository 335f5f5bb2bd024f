"""The clean-image classifiers that guide on the image testbeds: plain ones, and max-Mahalanobis ones."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guidegym.networks.blocks import ResidualBlock, group_norm
from guidegym.networks.class_centres import max_mahalanobis_means
from guidegym.networks.config import configured


class Encoder(nn.Module):
    """An encoder from an image, noisy or not, to ``dim`` features, without a time input.

    Args:
        image_channels: Channels of the image.
        channels: Channels at the higher and the lower resolution.
        image_size: Height and width of the image, a multiple of 4.
        dim: Length of the feature vector.
        density: Whether the classifier's energy is to be sampled as a density: there is then no normalisation, and the image
            is first processed at full resolution, whose gradients are smoother than those of unshuffled pixels.
    """

    def __init__(
        self, *, image_channels: int, channels: tuple[int, int], image_size: int, dim: int, density: bool = False
    ) -> None:
        super().__init__()
        high, low = channels
        groups = 0 if density else 8
        self.density = density
        self.stem: nn.Module = nn.Conv2d(4 * image_channels, high, 3, padding=1)
        if density:
            self.stem = nn.Sequential(
                nn.Conv2d(image_channels, high // 2, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(high // 2, high, 4, stride=2, padding=1),
            )
        self.high = ResidualBlock(high, high, groups=groups)
        self.reduce = nn.Conv2d(high, low, 3, stride=2, padding=1)
        self.low = nn.ModuleList(ResidualBlock(low, low, groups=groups) for _ in range(2))
        self.norm = group_norm(groups, low)
        self.project = nn.Linear((image_size // 4) ** 2 * low, dim)

    def forward(self, x: Float[Tensor, " batch channels height width"]) -> Float[Tensor, " batch dim"]:
        """Return the features of ``x``."""
        hidden = self.reduce(self.high(self.stem(x if self.density else functional.pixel_unshuffle(x, 2))))
        for block in self.low:
            hidden = block(hidden)
        features: Tensor = self.project(functional.silu(self.norm(hidden)).flatten(1))
        return features


@configured
class OffTheShelfClassifier(nn.Module):
    """An off-the-shelf classifier: class logits of an image without a time input, trained on clean images.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels of the higher and of the lower resolution.
        image_size: Height and width of the image, a multiple of 4.
        feature_dim: Length of the last hidden layer.
        density: Whether its energy is to be sampled; see ``Encoder``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (32, 64),
        image_size: int = 28,
        feature_dim: int = 128,
        density: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            image_channels=image_channels, channels=channels, image_size=image_size, dim=feature_dim, density=density
        )
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(
        self,
        x: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``x``; ``t`` is accepted for the interface of guides and ignored."""
        del t
        logits: Tensor = self.head(functional.silu(self.encoder(x)))
        return logits


@configured
class MaxMahalanobisClassifier(nn.Module):
    r"""A classifier that is a mixture of Gaussians in its features, with fixed, maximally separated centres.

    .. math:: f(x)_y = -E(x, y) = -\frac{\|\phi(x) - \mu_y\|_2^2}{2 \gamma^2}

    so that the softmax of the logits is the class posterior and their logsumexp is :math:`\log p(x)` up to a constant.

    Args:
        num_classes: Number ``K`` of classes, at most ``feature_dim + 1``.
        image_channels: Channels of the image.
        channels: Channels of the higher and of the lower resolution.
        image_size: Height and width of the image, a multiple of 4.
        feature_dim: Length of the features.
        scale: Norm ``S`` of the centres.
        density: Whether its energy is to be sampled; see ``Encoder``.

    Source:
        Yang et al. 2021, eq. 6 and 11, appendix C; Pang et al. 2020.
    """

    means: Tensor
    variance: Tensor

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (32, 64),
        image_size: int = 28,
        feature_dim: int = 64,
        scale: float = 10.0,
        density: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            image_channels=image_channels, channels=channels, image_size=image_size, dim=feature_dim, density=density
        )
        means = max_mahalanobis_means(num_classes, feature_dim, scale).float()
        self.register_buffer("means", means, persistent=False)  # a function of the settings
        self.register_buffer("variance", torch.ones(()))

    def features(self, x: Float[Tensor, " batch channels height width"]) -> Float[Tensor, " batch dim"]:
        r"""Return the features :math:`\phi(x)`."""
        encoded: Tensor = self.encoder(x)
        return encoded

    def logits_of(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        r"""Return the logits :math:`-\|\phi - \mu_y\|^2 / (2 \gamma^2)` of features."""
        squared = (features[:, None] - self.means).square().sum(dim=2)
        return -squared / (2 * self.variance)

    def forward(
        self,
        x: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``x``; ``t`` is accepted for the interface of guides and ignored."""
        del t
        return self.logits_of(self.features(x))
