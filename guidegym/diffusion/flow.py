"""The process of flow matching: straight lines between data and noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_count, plain_fields


@register("process", "flow")
@dataclass(frozen=True)
class FlowProcess:
    r"""Straight lines from data to noise, in continuous time: flow matching, rectified flow.

    .. math:: x_t = (1 - t)\, x_0 + t\, \epsilon, \quad t \in [0, 1]

    Times are the noise levels. A sampler's are even ones moved towards the noisy end by ``shift``, as large images need:

    .. math:: t = \frac{s\,u}{1 + (s - 1)\,u}, \quad u = 1, \dots, \frac{1}{n}

    Args:
        shift: ``s`` > 0; 1 keeps the times even, Stable Diffusion 3 uses 3.
        last: The last ``u`` before the clean end, in (0, 1); None for 1 / n. Diffusers' scheduler fixes it.

    Raises:
        GuideGymError: If an argument is out of range.

    Source:
        Lipman et al. 2023; Liu et al. 2023; Esser et al. 2024, eq. 23, for the shift.
    """

    shift: float = 1.0
    last: float | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        if self.last is not None and not 0 < self.last < 1:
            raise GuideGymError(f"must be in (0, 1) or None, got {self.last}", argument="last")
        if not 0 < self.shift < float("inf"):
            raise GuideGymError(f"must be > 0, got {self.shift}", argument="shift")

    @property
    def clean(self) -> float:
        """The time of clean data: 0."""
        return 0.0

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from: 1."""
        return 1.0

    def grid(self) -> Float[Tensor, " times"]:
        """Return a thousand times, ascending to 1."""
        return self.times(1000)[:-1].flip(0)

    def times(self, num_steps: int, spacing: str = "trailing") -> Float[Tensor, " steps_and_end"]:
        """Return descending times, followed by 0; ``leading`` starts a step below 1."""
        check_count("num_steps", num_steps, least=1)
        even = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
        if self.last is not None:
            even[:-1] = torch.linspace(1, self.last, num_steps, dtype=torch.float64)
        if spacing == "leading":
            even = torch.linspace(1, 0, num_steps + 2, dtype=torch.float64)[1:]
        return self.shift * even / (1 + (self.shift - 1) * even)

    def position(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return times on the scale 0..1000."""
        return 1000 * t.double()

    def fraction(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the completed fraction of the chain, 1 - t."""
        return 1 - t.double()

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        r"""Return the share of signal variance left, :math:`(1 - t)^2`."""
        return (1 - t.double()).square().to(dtype)

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the standard deviation of the noise, ``t``."""
        return t.double().to(dtype)
