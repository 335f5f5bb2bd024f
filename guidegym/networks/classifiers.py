"""The classifiers of the image testbeds: two kinds of guide and a judge of another architecture."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guidegym.networks.blocks import ResidualBlock, TimestepEmbedding


class TimeDependentClassifier(nn.Module):
    r"""Class logits :math:`f(x_t, t)` of a noisy image whose noise level is known.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels of the higher and of the lower resolution.
        embedding_dim: Length of the time embedding.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (32, 64),
        embedding_dim: int = 64,
    ) -> None:
        super().__init__()
        self.config = {
            "num_classes": num_classes,
            "image_channels": image_channels,
            "channels": list(channels),
            "embedding_dim": embedding_dim,
        }
        high, low = channels
        self.embed = TimestepEmbedding(high // 2, embedding_dim)
        self.stem = nn.Conv2d(4 * image_channels, high, 3, padding=1)
        self.high = ResidualBlock(high, high, embedding_dim=embedding_dim)
        self.reduce = nn.Conv2d(high, low, 3, stride=2, padding=1)
        self.low = nn.ModuleList(ResidualBlock(low, low, embedding_dim=embedding_dim) for _ in range(2))
        self.norm = nn.GroupNorm(8, low)
        self.head = nn.Linear(low, num_classes)

    def forward(
        self,
        x_t: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``x_t`` at training timesteps ``t`` (0..999)."""
        embedding = self.embed(t)
        hidden = self.high(self.stem(functional.pixel_unshuffle(x_t, 2)), embedding)
        hidden = self.reduce(hidden)
        for block in self.low:
            hidden = block(hidden, embedding)
        logits: Tensor = self.head(functional.silu(self.norm(hidden)).mean(dim=(2, 3)))
        return logits


class RobustClassifier(nn.Module):
    """Class logits of an image, noisy or not, without a time input: the off-the-shelf kind.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels of the higher and of the lower resolution.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (32, 64),
    ) -> None:
        super().__init__()
        self.config = {"num_classes": num_classes, "image_channels": image_channels, "channels": list(channels)}
        high, low = channels
        self.stem = nn.Conv2d(4 * image_channels, high, 3, padding=1)
        self.high = ResidualBlock(high, high)
        self.reduce = nn.Conv2d(high, low, 3, stride=2, padding=1)
        self.low = nn.ModuleList(ResidualBlock(low, low) for _ in range(2))
        self.norm = nn.GroupNorm(8, low)
        self.hidden = nn.Linear(49 * low, 128)
        self.head = nn.Linear(128, num_classes)

    def forward(
        self,
        x: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``x`` (28x28); ``t`` is accepted, as every guide's classifier does, and not used."""
        del t
        hidden = self.reduce(self.high(self.stem(functional.pixel_unshuffle(x, 2))))
        for block in self.low:
            hidden = block(hidden)
        flat = functional.silu(self.norm(hidden)).flatten(1)
        logits: Tensor = self.head(functional.silu(self.hidden(flat)))
        return logits


class ConvBatchNorm(nn.Sequential):
    """A 3x3 convolution, batch normalisation and a rectifier."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class Judge(nn.Module):
    """A plain convolutional classifier whose last hidden layer is the space that samples are measured in.

    It shares nothing with the guides: full-size input, batch normalisation, rectifiers and max-pooling. It is never used
    to guide.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels at full, half and quarter size.
        feature_dim: Length of the feature vector.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int, int] = (24, 48, 96),
        feature_dim: int = 64,
    ) -> None:
        super().__init__()
        self.config = {
            "num_classes": num_classes,
            "image_channels": image_channels,
            "channels": list(channels),
            "feature_dim": feature_dim,
        }
        full, half, quarter = channels
        self.trunk = nn.Sequential(
            ConvBatchNorm(image_channels, full),
            ConvBatchNorm(full, full),
            nn.MaxPool2d(2),
            ConvBatchNorm(full, half),
            ConvBatchNorm(half, half),
            nn.MaxPool2d(2),
            ConvBatchNorm(half, quarter),
            ConvBatchNorm(quarter, quarter),
        )
        self.project = nn.Linear(2 * quarter, feature_dim)
        self.head = nn.Linear(feature_dim, num_classes)

    def features(self, x: Float[Tensor, " batch channels height width"]) -> Float[Tensor, " batch dim"]:
        """Return the penultimate features of clean images ``x`` in [-1, 1]."""
        hidden = self.trunk(x)
        pooled = torch.cat([hidden.mean(dim=(2, 3)), hidden.amax(dim=(2, 3))], dim=1)
        return functional.relu(self.project(pooled))

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of penultimate ``features``."""
        logits: Tensor = self.head(features)
        return logits

    def forward(self, x: Float[Tensor, " batch channels height width"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of clean images ``x`` in [-1, 1]."""
        return self.classify(self.features(x))
