"""The noise-predicting U-Net of the image testbeds."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from guidegym.diffusion import rows_like
from guidegym.networks.blocks import ResidualBlock, SelfAttention, TimestepEmbedding
from guidegym.networks.config import configured
from guidegym.networks.noise_levels import check_process_name, signal_and_noise, to_unit_variance


@configured
class UNet(nn.Module):
    r"""Predict the noise :math:`\epsilon_\theta(x_t, t)` of small images.

    The image is first unshuffled by 2 (four times the channels at half the size): most of the arithmetic then runs on a quarter
    of the pixels, which makes it affordable on a CPU. Two resolutions follow, with self-attention at the
    lower one.

    With ``velocity`` its layers predict :math:`v = \sqrt{\bar\alpha_t}\, \epsilon - \sigma_t x_0`, and it returns

    .. math:: \epsilon_\theta = \sigma_t x_t + \sqrt{\bar\alpha_t}\, v_\theta(x_t, t)

    so that at high noise, where ``x_t`` is almost pure noise, the layers predict the remaining part: the clean image.
    Under a process that does not preserve the variance, this applies to :math:`x_t` scaled to unit variance.

    Args:
        image_channels: Channels of the image.
        channels: Channels at the higher and the lower resolution.
        blocks: Residual blocks at each resolution on the way down; the way up has the same number.
        embedding_dim: Length of the time embedding.
        num_classes: Number of classes to condition on; 0 for none.
        text_dim: Length of the text embeddings to condition on; 0 for none.
        velocity: Process whose velocity its layers predict, by name in ``noise_levels.PROCESSES``; empty for layers that
            predict the noise.

    Source:
        Salimans and Ho 2022, section 4 and appendix D, for the velocity.
    """

    def __init__(
        self,
        *,
        image_channels: int = 1,
        channels: tuple[int, int] = (64, 128),
        blocks: int = 2,
        embedding_dim: int = 128,
        num_classes: int = 0,
        text_dim: int = 0,
        velocity: str = "",
    ) -> None:
        super().__init__()
        check_process_name("velocity", velocity)
        self.velocity = velocity
        high, low = channels
        dim = embedding_dim
        self.embed = TimestepEmbedding(high // 2, dim)
        self.embed_label = nn.Embedding(num_classes + 1, dim) if num_classes else None
        if self.embed_label is not None:
            nn.init.zeros_(self.embed_label.weight[0])  # no class: starts as the unconditional network
        self.embed_text = nn.Linear(text_dim, dim, bias=False) if text_dim else None
        self.stem = nn.Conv2d(4 * image_channels, high, 3, padding=1)
        self.down_high = nn.ModuleList(ResidualBlock(high, high, embedding_dim=dim) for _ in range(blocks))
        self.reduce = nn.Conv2d(high, low, 3, stride=2, padding=1)
        self.down_low = nn.ModuleList(ResidualBlock(low, low, embedding_dim=dim) for _ in range(blocks))
        self.attention = SelfAttention(low)
        self.middle = ResidualBlock(low, low, embedding_dim=dim)
        self.up_low = nn.ModuleList(ResidualBlock(2 * low, low, embedding_dim=dim) for _ in range(blocks))
        self.expand = nn.Conv2d(low, 4 * high, 1)
        self.up_high = nn.ModuleList(ResidualBlock(2 * high, high, embedding_dim=dim) for _ in range(blocks))
        self.norm = nn.GroupNorm(8, high)
        self.head = nn.Conv2d(high, 4 * image_channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def forward(
        self,
        x_t: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"],
        label: Int[Tensor, " batch"] | None = None,
        text: Float[Tensor, " batch text"] | None = None,
    ) -> Float[Tensor, " batch channels height width"]:
        """Predict the noise in ``x_t`` at training timesteps ``t`` (0..999); height and width are multiples of 4.

        A network with classes predicts for the class ``label`` of each row: -1, or None for all rows, means no class. One with
        texts predicts for the embedding ``text`` of each row: zeros, or None for all rows, mean no text.
        """
        x_t = to_unit_variance(self.velocity, x_t, t) if self.velocity else x_t
        embedding = self.embed(t)
        if self.embed_label is not None:
            given = torch.full_like(t, -1, dtype=torch.long) if label is None else label
            embedding = embedding + self.embed_label(given + 1)
        if self.embed_text is not None and text is not None:
            embedding = embedding + self.embed_text(text)
        hidden = self.stem(functional.pixel_unshuffle(x_t, 2))
        skips: list[Tensor] = []
        for block in self.down_high:
            hidden = block(hidden, embedding)
            skips.append(hidden)
        hidden = self.reduce(hidden)
        for block in self.down_low:
            hidden = block(hidden, embedding)
            skips.append(hidden)
        hidden = self.middle(self.attention(hidden), embedding)
        for block in self.up_low:
            hidden = block(torch.cat([hidden, skips.pop()], dim=1), embedding)
        hidden = functional.pixel_shuffle(self.expand(hidden), 2)
        for block in self.up_high:
            hidden = block(torch.cat([hidden, skips.pop()], dim=1), embedding)
        output = functional.pixel_shuffle(self.head(functional.silu(self.norm(hidden))), 2).to(x_t.dtype)
        return self._noise_of(output, x_t, t) if self.velocity else output

    def _noise_of(
        self,
        velocity: Float[Tensor, " batch channels height width"],
        x_t: Float[Tensor, " batch channels height width"],
        t: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch channels height width"]:
        """Return the noise that corresponds to a velocity, for noisy rows of unit variance."""
        alpha, sigma = (rows_like(share.to(x_t.dtype), x_t) for share in signal_and_noise(self.velocity, t))
        return sigma * x_t + alpha * velocity
