"""The variance-preserving process of a table of noise levels: that of any other library's schedule."""

import functools
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.process import DiscreteTime
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import check_range, plain_fields, whole_number


@functools.lru_cache(maxsize=32)
def _table(process: "TableProcess", dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return alpha_bar at -1, 0, ..., T - 1."""
    return torch.tensor((process.final, *process.alpha_bars), dtype=torch.float64).to(device=device, dtype=dtype)


@register("process", "table")
@dataclass(frozen=True)
class TableProcess(DiscreteTime):
    r"""A discrete variance-preserving process whose :math:`\bar\alpha_t` are given, such as a scheduler's ``alphas_cumprod``.

    Args:
        alpha_bars: :math:`\bar\alpha_0 .. \bar\alpha_{T-1}`, descending, in [0, 1); the last may be 0 (zero terminal
            signal-to-noise ratio).
        final: :math:`\bar\alpha` at the clean end; below 1, samples keep some noise, as with diffusers'
            ``set_alpha_to_one=False``.
        offset: Number added to timesteps of ``leading`` spacing: diffusers' ``steps_offset``.

    Raises:
        GuideGymError: If the table does not descend or a number is out of range.
    """

    alpha_bars: tuple[float, ...] = field(repr=False)
    final: float = 1.0
    offset: int = 0

    def __post_init__(self) -> None:
        plain_fields(self)
        if not self.alpha_bars:
            raise GuideGymError("must have at least one value", argument="alpha_bars")
        check_range("final", self.final, least=0, most=1)
        for here, further in zip((self.final, *self.alpha_bars), self.alpha_bars, strict=False):
            if not 0 <= further <= here <= 1:
                raise GuideGymError(
                    f"must descend from at most 1 to at least 0, got {further} after {here}", argument="alpha_bars"
                )
        whole_number("offset", self.offset, least=0, most=len(self.alpha_bars))

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        """The hash, computed once: the tables are looked up by it at every step."""
        return hash((self.alpha_bars, self.final, self.offset))

    @property
    def num_timesteps(self) -> int:  # type: ignore[override]
        """Number ``T`` of training timesteps."""
        return len(self.alpha_bars)

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from: 1."""
        return 1.0

    def times(self, num_steps: int, spacing: str = "trailing") -> Shaped[Tensor, " steps_and_end"]:
        """Return descending timesteps, followed by -1; see ``Process.times``."""
        times = super().times(num_steps, spacing)
        if spacing == "leading":
            times[:-1] = (times[:-1] + self.offset).clamp(max=self.num_timesteps - 1)
        return times

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        r"""Return :math:`\bar\alpha_t`; that of the clean end at ``t = -1``."""
        return _table(self, dtype, t.device)[t.long() + 1]

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        r"""Return :math:`\sqrt{1 - \bar\alpha_t}`, the standard deviation of the noise."""
        return (1 - self.alpha_bar(t, torch.float64)).sqrt().to(dtype)
