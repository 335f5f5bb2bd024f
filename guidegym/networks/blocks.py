"""The building blocks of the U-Net and the classifier encoders."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@functools.lru_cache(maxsize=32)
def _frequencies(num: int, device: torch.device) -> Float[Tensor, " frequencies"]:
    """Return the frequencies in single precision; a buffer would be cast to half precision with its module."""
    exponents = torch.arange(num, dtype=torch.float64) / num
    return torch.exp(-math.log(10_000.0) * exponents).float().to(device)


class TimestepEmbedding(nn.Module):
    r"""Embed training timesteps by sines and cosines, then two linear layers.

    .. math:: e_{2i}(t) = \sin(\omega_i t), \quad e_{2i+1}(t) = \cos(\omega_i t), \quad \omega_i = 10000^{-i / n}

    Args:
        num_frequencies: Number ``n`` of frequencies, from 1 down to 1/10000 radian per timestep.
        dim: Length of the embedding.

    Source:
        Ho et al. 2020, appendix B.
    """

    def __init__(self, num_frequencies: int, dim: int) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.layers = nn.Sequential(nn.Linear(2 * num_frequencies, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, t: Float[Tensor, " batch"]) -> Float[Tensor, " batch dim"]:
        """Embed timesteps ``t`` in 0..999, given in single precision: bfloat16 cannot represent 999."""
        angles = t[:, None] * _frequencies(self.num_frequencies, t.device)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        embedding: Tensor = self.layers(waves.to(next(self.parameters()).dtype))
        return embedding


def group_norm(groups: int, channels: int) -> nn.Module:
    """Return a group normalisation, or the identity for 0 groups."""
    return nn.GroupNorm(groups, channels) if groups else nn.Identity()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection, normalised or not, modulated by an optional time embedding.

    Args:
        in_channels: Channels of the input, a multiple of ``groups``.
        out_channels: Channels of the output, a multiple of ``groups``.
        embedding_dim: Length of the time embedding; 0 for a block without time.
        groups: Groups of the two group normalisations; 0 for none, which keeps the scale of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, embedding_dim: int = 0, groups: int = 8) -> None:
        super().__init__()
        self.norm_in = group_norm(groups, in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.modulation = nn.Linear(embedding_dim, 2 * out_channels) if embedding_dim else None
        self.norm_out = group_norm(groups, out_channels)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        # The block is initialised as the identity, which keeps deep stacks trainable from the first step.
        nn.init.zeros_(self.conv_out.weight)

    def forward(
        self,
        x: Float[Tensor, " batch channels height width"],
        embedding: Float[Tensor, " batch dim"] | None = None,
    ) -> Float[Tensor, " batch out height width"]:
        """Return the block's output, same height and width as ``x``."""
        hidden = self.norm_out(self.conv_in(functional.silu(self.norm_in(x))))
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
            hidden = torch.addcmul(shift, hidden, 1 + scale)
        output: Tensor = self.conv_out(functional.silu(hidden)) + self.skip(x)
        return output


class SelfAttention(nn.Module):
    """Multi-head self-attention over the pixels of a feature map, around a skip connection.

    Args:
        channels: Channels of the map, a multiple of ``heads`` and of ``groups``.
        heads: Number of attention heads.
        groups: Groups of the normalisation before it.
    """

    def __init__(self, channels: int, *, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.to_out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.to_out.weight)

    def forward(
        self, x: Float[Tensor, " batch channels height width"]
    ) -> Float[Tensor, " batch channels height width"]:
        """Return the attended map, same shape as ``x``."""
        batch, channels, height, width = x.shape
        qkv = self.to_qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = qkv.transpose(3, 4).unbind(dim=1)
        attended = functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = x + self.to_out(attended.transpose(2, 3).reshape(batch, channels, height, width))
        return output
