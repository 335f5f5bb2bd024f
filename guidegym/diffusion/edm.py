"""The process of EDM: noise levels in continuous time, unscaled signal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_count, plain_fields


@register("process", "edm")
@dataclass(frozen=True)
class EDMProcess:
    r"""The process of EDM and k-diffusion: times are the noise levels themselves.

    .. math:: q(x_t | x_0) = N(x_0, \sigma^2 I), \quad
        \sigma_i = \Big( \sigma_{max}^{1/\rho} + \tfrac{i}{n - 1} (\sigma_{min}^{1/\rho} - \sigma_{max}^{1/\rho}) \Big)^\rho

    Args:
        sigma_min: The lowest level of a sampler, > 0, in units of the data.
        sigma_max: The highest level; chains start from noise of this size.
        rho: Exponent >= 1: larger ones take more steps at low noise.

    Raises:
        GuideGymError: If an argument is out of range.

    Source:
        Karras et al. 2022, eq. 5 and Table 1.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 < self.sigma_min < self.sigma_max < float("inf"):
            raise GuideGymError(
                f"`sigma_min` and `sigma_max` must be 0 < min < max, got {self.sigma_min}, {self.sigma_max}"
            )
        if not 1 <= self.rho < float("inf"):
            raise GuideGymError(f"must be >= 1, got {self.rho}", argument="rho")

    @property
    def clean(self) -> float:
        """The time of clean data: 0."""
        return 0.0

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from: ``sigma_max``."""
        return self.sigma_max

    def _level(self, fraction: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
        """Return the levels at fractions of the chain."""
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        # Clamped: rounding must not put the first level above the one that chains start from.
        levels: Tensor = (first + fraction * (last - first)) ** self.rho
        return levels.clamp(self.sigma_min, self.sigma_max)

    def grid(self) -> Float[Tensor, " times"]:
        """Return a thousand levels, ascending."""
        return self._level(torch.linspace(1, 0, 1000, dtype=torch.float64))

    def times(self, num_steps: int, spacing: str = "trailing") -> Float[Tensor, " steps_and_end"]:
        """Return descending levels from the highest to the lowest, followed by 0; there is one spacing, that of ``rho``."""
        check_count("num_steps", num_steps, least=1)
        levels = self._level(torch.arange(num_steps, dtype=torch.float64) / max(num_steps - 1, 1))
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)])

    def position(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return levels on the scale 0..1000: what is left of the chain."""
        return 1000 * (1 - self.fraction(t))

    def fraction(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        r"""Return the completed fraction of the chain, linear in :math:`\sigma^{1/\rho}`; 1 at the lowest level and below."""
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        share: Tensor = (first - t.double() ** (1 / self.rho)) / (first - last)
        return share.clamp(0, 1)

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the share of signal variance left: 1 at every level."""
        return torch.ones(t.shape, dtype=dtype, device=t.device)

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the standard deviation of the noise: the level."""
        return t.double().to(dtype)
