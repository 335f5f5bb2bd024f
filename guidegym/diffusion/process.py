"""Noise processes: the amounts of signal and noise at each training timestep."""

import functools
import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.registry import contract, register
from guidegym.support.settings import plain_fields


@contract("process")
@runtime_checkable
class Process(Protocol):
    r"""A Gaussian noise process :math:`x_t = a_t x_0 + \sigma_t \epsilon`, whose times grow with the noise.

    The process defines its times: integer training timesteps (``DiscreteTime``), or any numbers.
    """

    @property
    def clean(self) -> float:
        """The time of clean data, where chains end; it is below all others."""
        ...

    def grid(self) -> Shaped[Tensor, " times"]:
        """Return the times that networks are trained at, ascending: all of them, or an evenly spaced grid of them."""
        ...

    def times(self, num_steps: int, spacing: str = "trailing") -> Shaped[Tensor, " steps_and_end"]:
        """Return ``num_steps`` descending times for a sampler, followed by the clean end.

        ``trailing`` starts at the noisiest time; ``leading`` ends at the least noisy one; ``linspace`` does both.

        Raises:
            GuideGymError: If the process has fewer times.
        """
        ...

    def position(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the position of times on the schedules' scale 0..1000, float64: 0 is the clean end."""
        ...

    def fraction(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the completed fraction of the chain at times, float64: 0 at the noisiest, 1 at the least noisy one."""
        ...

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the share of signal variance left at ``t``; 1 at the clean end."""
        ...

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the standard deviation of the noise at ``t``; 0 at the clean end."""
        ...

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from."""
        ...


class DiscreteTime:
    """Base class of processes whose times are the training timesteps ``0 .. num_timesteps - 1``; -1 is the clean end."""

    num_timesteps: int

    @property
    def clean(self) -> float:
        """The time of clean data: -1."""
        return -1.0

    def grid(self) -> Int[Tensor, " timesteps"]:
        """Return all training timesteps, ascending."""
        return torch.arange(self.num_timesteps)

    def times(self, num_steps: int, spacing: str = "trailing") -> Int[Tensor, " steps_and_end"]:
        """Return descending timesteps, followed by -1; see ``Process.times``."""
        total = self.num_timesteps
        if num_steps > total:
            raise GuideGymError(
                f"asks for {num_steps} noise levels, but the process has {total}: take fewer", argument="num_steps"
            )
        count = torch.arange(num_steps, dtype=torch.float64)
        steps = {
            "trailing": (total - count * (total / num_steps)).round() - 1,
            "leading": count.flip(0) * (total // num_steps),
            "linspace": (count.flip(0) * ((total - 1) / max(num_steps - 1, 1))).round(),
        }[spacing]
        return torch.cat([steps.long(), torch.tensor([-1])])

    def position(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return timesteps on the scale 0..1000."""
        return t.double() * (1000 / self.num_timesteps)

    def fraction(self, t: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the completed fraction of the chain: 0 at the last training timestep, 1 at timestep 0."""
        last = self.num_timesteps - 1
        return (last - t.double()) / max(last, 1)


def noise_share(
    process: Process, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float64
) -> Float[Tensor, " batch"]:
    r"""Return the share of noise :math:`\sigma_t^2 / (a_t^2 + \sigma_t^2)`, in [0, 1], for data of unit variance.

    It identifies a noise level in any process: for VP it is :math:`1 - \bar\alpha_t`, for VE
    :math:`\sigma_t^2 / (1 + \sigma_t^2)`, and a network trained at a level under one can be used at the same level under the
    other.
    """
    alpha_bar, variance = process.alpha_bar(t, torch.float64), process.sigma(t, torch.float64).square()
    return (variance / (alpha_bar + variance)).to(dtype)


def noise_ratio(
    process: Process, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float64
) -> Float[Tensor, " batch"]:
    r"""Return the noise level :math:`\sigma_t / a_t`, >= 0, in units of the data: VE's own :math:`\sigma_t`."""
    return (process.sigma(t, torch.float64) / process.alpha_bar(t, torch.float64).sqrt()).to(dtype)


def rows_like(values: Shaped[Tensor, " batch"], x: Shaped[Tensor, " batch *event"]) -> Shaped[Tensor, " batch *ones"]:
    """Reshape one value per row so that it broadcasts over the event dimensions of ``x``."""
    return values.reshape(-1, *([1] * (x.ndim - 1)))


def noisy_rows(
    process: Process,
    x_0: Float[Tensor, " batch *event"],
    t: Shaped[Tensor, " batch"],
    noise: Float[Tensor, " batch *event"],
) -> Float[Tensor, " batch *event"]:
    r"""Return :math:`x_t = a_t x_0 + \sigma_t \epsilon` of clean rows under any process."""
    alpha_bar_t = rows_like(process.alpha_bar(t, x_0.dtype), x_0)
    return alpha_bar_t.sqrt() * x_0 + rows_like(process.sigma(t, x_0.dtype), x_0) * noise


@functools.lru_cache(maxsize=32)
def _alpha_bar_table(schedule: str, num_timesteps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return alpha_bar at -1, 0, ..., T - 1: computed in float64, cast once."""
    steps = torch.arange(num_timesteps, dtype=torch.float64)
    if schedule == "linear":
        # The end points are chosen for T = 1000; other lengths keep the same total noise.
        scale = 1000 / num_timesteps
        fraction = steps / max(num_timesteps - 1, 1)
        betas = scale * (1e-4 + (0.02 - 1e-4) * fraction)
    else:
        edges = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
        curve = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = 1 - curve[1:] / curve[:-1]
    alpha_bar = torch.cumprod(1 - betas.clamp(max=0.999), dim=0)
    return torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar]).to(device=device, dtype=dtype)


@register("process", "vp")
@dataclass(frozen=True)
class VPProcess(DiscreteTime):
    r"""The discrete variance-preserving process of DDPM.

    .. math:: q(x_t | x_0) = N(\sqrt{\bar\alpha_t}\, x_0,\; (1 - \bar\alpha_t) I)

    Args:
        schedule: ``linear`` betas from 1e-4 to 0.02, or the ``cosine`` curve of alpha_bar with betas of at most 0.999.
        num_timesteps: Number ``T`` of training timesteps, >= 1.

    Raises:
        GuideGymError: If an argument is out of range.

    Source:
        Wang 2024, eq. 2.9-2.15; Ho et al. 2020; Nichol and Dhariwal 2021 for the cosine curve.
    """

    schedule: str = "linear"
    num_timesteps: int = 1000

    def __post_init__(self) -> None:
        plain_fields(self)
        if self.schedule not in ("linear", "cosine"):
            raise GuideGymError(f"`schedule` must be 'linear' or 'cosine', got {self.schedule!r}")
        if self.num_timesteps < 1 or (self.schedule == "linear" and self.num_timesteps < 21):
            raise GuideGymError(
                f"`num_timesteps` must be >= 1 (>= 21 for the linear schedule), got {self.num_timesteps}"
            )

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        r"""Return :math:`\bar\alpha_t`, the share of signal variance left, in (0, 1]; 1 at ``t = -1``.

        Args:
            t: Timesteps in ``-1 .. num_timesteps - 1``.
            dtype: Floating type of the result.
        """
        return _alpha_bar_table(self.schedule, self.num_timesteps, dtype, t.device)[t.long() + 1]

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        r"""Return :math:`\sigma_t = \sqrt{1 - \bar\alpha_t}`, the noise's standard deviation, in [0, 1)."""
        return (1 - self.alpha_bar(t, torch.float64)).sqrt().to(dtype)

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from: 1."""
        return 1.0

    def q_sample(
        self,
        x_0: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        *,
        noise: Float[Tensor, " batch *event"],
    ) -> Float[Tensor, " batch *event"]:
        r"""Noise clean rows: :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon`."""
        return noisy_rows(self, x_0, t, noise)

    def kernel_score(
        self,
        x_t: Float[Tensor, " batch *event"],
        x_0: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
    ) -> Float[Tensor, " batch *event"]:
        r"""Return :math:`\nabla_{x_t} \log q(x_t | x_0) = -(x_t - \sqrt{\bar\alpha_t}\, x_0) / (1 - \bar\alpha_t)`.

        Args:
            x_t: Noisy rows.
            x_0: The clean rows they came from.
            t: Timesteps in ``0 .. num_timesteps - 1``; at ``-1`` there is no density.
        """
        alpha_bar_t = rows_like(self.alpha_bar(t, x_0.dtype), x_0)
        return -(x_t - alpha_bar_t.sqrt() * x_0) / rows_like(self.sigma(t, x_0.dtype), x_0).square()
