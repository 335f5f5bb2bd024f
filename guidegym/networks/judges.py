"""The judges of the image testbeds: four architectures that share nothing with the guides and never guide."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guidegym.networks.config import configured


class ConvBatchNorm(nn.Sequential):
    """A 3x3 convolution, batch normalisation and a rectifier."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1, size: int = 3) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class BaseJudge(nn.Module):
    """Base class of judges: a trunk that computes maps, their mean and maximum, a hidden layer, and a linear head.

    The hidden layer provides the features that samples are measured in.

    Args:
        trunk: From images in [-1, 1] to maps.
        trunk_channels: Channels of the maps.
        num_classes: Number ``K`` of classes.
        feature_dim: Length of the feature vector.
    """

    def __init__(self, trunk: nn.Module, trunk_channels: int, *, num_classes: int, feature_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.project = nn.Linear(2 * trunk_channels, feature_dim)
        self.head = nn.Linear(feature_dim, num_classes)

    def features_and_maps(
        self, x: Float[Tensor, " batch channels height width"]
    ) -> tuple[Float[Tensor, " batch dim"], Float[Tensor, " batch maps rows columns"]]:
        """Return the penultimate features of clean images ``x`` in [-1, 1], and the maps that they are pooled from."""
        maps = self.trunk(x)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return functional.relu(self.project(pooled)), maps

    def features(self, x: Float[Tensor, " batch channels height width"]) -> Float[Tensor, " batch dim"]:
        """Return the penultimate features of clean images ``x`` in [-1, 1]."""
        return self.features_and_maps(x)[0]

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of penultimate ``features``."""
        logits: Tensor = self.head(features)
        return logits

    def forward(
        self, x: Float[Tensor, " batch channels height width"], t: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch classes"]:
        """Return the logits of clean images ``x`` in [-1, 1]; ``t`` is accepted for the interface of classifiers and ignored."""
        del t
        return self.classify(self.features(x))


@configured
class Judge(BaseJudge):
    """Plain convolutions, batch normalisation and max-pooling: the judge that measures samples.

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
        full, half, quarter = channels
        trunk = nn.Sequential(
            ConvBatchNorm(image_channels, full),
            ConvBatchNorm(full, full),
            nn.MaxPool2d(2),
            ConvBatchNorm(full, half),
            ConvBatchNorm(half, half),
            nn.MaxPool2d(2),
            ConvBatchNorm(half, quarter),
            ConvBatchNorm(quarter, quarter),
        )
        super().__init__(trunk, quarter, num_classes=num_classes, feature_dim=feature_dim)


class _Residual(nn.Module):
    """Two convolutions with a skip connection; a stride halves the map."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvBatchNorm(in_channels, out_channels, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.skip = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        summed: Tensor = self.second(self.first(x)) + self.skip(x)
        return functional.relu(summed)


@configured
class ResidualJudge(BaseJudge):
    """Residual blocks with strides instead of pooling.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels at full, half and quarter size.
        feature_dim: Length of the feature vector.

    Source:
        He et al. 2016.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int, int] = (16, 32, 64),
        feature_dim: int = 64,
    ) -> None:
        full, half, quarter = channels
        trunk = nn.Sequential(
            ConvBatchNorm(image_channels, full),
            _Residual(full, full, stride=1),
            _Residual(full, half, stride=2),
            _Residual(half, quarter, stride=2),
        )
        super().__init__(trunk, quarter, num_classes=num_classes, feature_dim=feature_dim)


@configured
class DepthwiseJudge(BaseJudge):
    """Depthwise 5x5 convolutions, each followed by a pointwise one.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        channels: Channels at half and quarter size.
        feature_dim: Length of the feature vector.

    Source:
        Howard et al. 2017.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        channels: tuple[int, int] = (64, 128),
        feature_dim: int = 64,
    ) -> None:
        half, quarter = channels

        def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                ConvBatchNorm(in_channels, in_channels, stride=stride, groups=in_channels, size=5),
                ConvBatchNorm(in_channels, out_channels, size=1),
            )

        trunk = nn.Sequential(
            ConvBatchNorm(image_channels, half, stride=2),
            separable(half, half, 1),
            separable(half, quarter, 2),
            separable(quarter, quarter, 1),
            separable(quarter, quarter, 1),
        )
        super().__init__(trunk, quarter, num_classes=num_classes, feature_dim=feature_dim)


class _Mixer(nn.Module):
    """One layer of an MLP-Mixer: mixing across patches, then across channels."""

    def __init__(self, patches: int, channels: int) -> None:
        super().__init__()
        self.norm_patches, self.norm_channels = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.across_patches = nn.Sequential(nn.Linear(patches, 2 * patches), nn.GELU(), nn.Linear(2 * patches, patches))
        self.across_channels = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` of shape (batch, patches, channels)."""
        x = x + self.across_patches(self.norm_patches(x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.across_channels(self.norm_channels(x))
        return mixed


class _MixerTrunk(nn.Module):
    """Patch embedding, a few mixing layers, and the patches rearranged as a map."""

    def __init__(self, image_channels: int, channels: int, *, image_size: int, patch: int, layers: int) -> None:
        super().__init__()
        side = image_size // patch
        self.side = side
        self.embed = nn.Conv2d(image_channels, channels, patch, stride=patch)
        self.layers = nn.Sequential(*(_Mixer(side * side, channels) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of shape (batch, channels, side, side)."""
        patches = self.embed(x).flatten(2).transpose(1, 2)
        mixed: Tensor = self.norm(self.layers(patches))
        return mixed.transpose(1, 2).reshape(len(x), -1, self.side, self.side)


@configured
class MixerJudge(BaseJudge):
    """An MLP-Mixer, without convolutions except for the patch embedding.

    Args:
        num_classes: Number ``K`` of classes.
        image_channels: Channels of the image.
        image_size: Height and width of the image, a multiple of ``patch``.
        patch: Height and width of a patch.
        channels: Length of a patch's vector.
        layers: Number of mixing layers.
        feature_dim: Length of the feature vector.

    Source:
        Tolstikhin et al. 2021.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        image_channels: int = 1,
        image_size: int = 28,
        patch: int = 4,
        channels: int = 96,
        layers: int = 4,
        feature_dim: int = 64,
    ) -> None:
        trunk = _MixerTrunk(image_channels, channels, image_size=image_size, patch=patch, layers=layers)
        super().__init__(trunk, channels, num_classes=num_classes, feature_dim=feature_dim)
