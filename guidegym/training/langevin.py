"""Langevin chains of energy-based training, and of the sampling of what was trained."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Slope = Callable[[Float[Tensor, " batch *event"]], Float[Tensor, " batch *event"]]
"""``x -> gradient of the log density``."""


@dataclass(frozen=True)
class Langevin:
    r"""Steps of a chain up a log density.

    .. math:: x \leftarrow x + \alpha u^2\, \nabla \log p(x) + \sigma u\, n, \quad n \sim N(0, I)

    Args:
        num_steps: Number of steps, >= 1.
        step_size: ``alpha`` > 0; with noise :math:`\sqrt{2 \alpha}` the chain samples ``p``, with less it samples a sharper
            density and converges in fewer steps.
        noise: ``sigma`` >= 0.
        clip: Bound on the absolute value of chains that are images; None for no bound.

    Source:
        Welling and Teh 2011; Grathwohl et al. 2020 for the small noise.
    """

    num_steps: int = 20
    step_size: float = 1.0
    noise: float = 0.01
    clip: float | None = None

    def __call__(
        self,
        x: Float[Tensor, " batch *event"],
        slope: Slope,
        generator: torch.Generator,
        *,
        unit: Float[Tensor, " batch *ones"] | float = 1.0,
    ) -> Float[Tensor, " batch *event"]:
        """Return the chains after their steps.

        Args:
            x: Where they stand.
            slope: Gradient of the log density.
            generator: Source of the noise.
            unit: Length ``u`` that the steps of each row are measured in.
        """
        for _ in range(self.num_steps):
            jitter = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            x = x + self.step_size * unit**2 * slope(x) + self.noise * unit * jitter
            x = x if self.clip is None else x.clamp(-self.clip, self.clip)
        return x
