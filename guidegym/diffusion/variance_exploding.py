"""The variance-exploding process, and the change of variables for using networks of a VP process under it."""

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion.process import DiscreteTime, VPProcess, noise_ratio
from guidegym.errors import GuideGymError
from guidegym.registry import register
from guidegym.support.settings import plain_fields


@functools.lru_cache(maxsize=32)
def _sigma_table(process: "VEProcess", dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return sigma at -1, 0, ..., T - 1: computed in float64, cast once."""
    fraction = torch.arange(process.num_timesteps, dtype=torch.float64) / max(process.num_timesteps - 1, 1)
    sigma = process.sigma_min * (process.sigma_max / process.sigma_min) ** fraction
    return torch.cat([torch.zeros(1, dtype=torch.float64), sigma]).to(device=device, dtype=dtype)


@register("process", "ve")
@dataclass(frozen=True)
class VEProcess(DiscreteTime):
    r"""The variance-exploding process: noise is added and the signal is unscaled.

    .. math:: q(x_t | x_0) = N(x_0, \sigma_t^2 I), \quad \sigma_t = \sigma_{min} (\sigma_{max} / \sigma_{min})^{t / (T - 1)}

    Args:
        sigma_min: Standard deviation at ``t = 0``, > 0, in units of the data.
        sigma_max: Standard deviation at ``t = T - 1``, > ``sigma_min``; chains start from noise of this size.
        num_timesteps: Number ``T`` of training timesteps, >= 2.

    Raises:
        GuideGymError: If an argument is out of range.

    Source:
        CG-SC, section 2.1; Song et al. 2021b, eq. 9 and appendix C.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    num_timesteps: int = 1000

    def __post_init__(self) -> None:
        plain_fields(self)
        if not 0 < self.sigma_min < self.sigma_max < float("inf"):
            raise GuideGymError(
                f"`sigma_min` and `sigma_max` must be 0 < min < max, got {self.sigma_min}, {self.sigma_max}"
            )
        if self.num_timesteps < 2:
            raise GuideGymError(f"`num_timesteps` must be >= 2, got {self.num_timesteps}")

    def alpha_bar(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the share of signal variance left: 1 at every timestep."""
        return torch.ones(t.shape, dtype=dtype, device=t.device)

    def sigma(self, t: Shaped[Tensor, " batch"], dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        """Return the noise's standard deviation, in ``sigma_min`` .. ``sigma_max``; 0 at ``t = -1``."""
        return _sigma_table(self, dtype, t.device)[t.long() + 1]

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that a chain starts from: ``sigma_max``."""
        return self.sigma_max


@functools.lru_cache(maxsize=32)
def vp_timesteps(ve: VEProcess, vp: VPProcess, device: torch.device) -> Float[Tensor, " timesteps"]:
    """Return, for VE timesteps -1, 0, ..., T - 1, the VP timestep of the same noise level.

    The logarithm of the noise level is interpolated linearly between timesteps; levels outside the VP process' range get its
    first or last timestep.
    """
    levels = noise_ratio(vp, vp.grid()).log()
    wanted = noise_ratio(ve, ve.grid()).log()
    right = torch.searchsorted(levels, wanted.contiguous()).clamp(1, vp.num_timesteps - 1)
    share = ((wanted - levels[right - 1]) / (levels[right] - levels[right - 1])).clamp(0, 1)
    between = right - 1 + share
    # Matching levels get the exact integer timestep: closed forms are defined at integers only.
    whole = between.round()
    between = torch.where((between - whole).abs() < 1e-6, whole, between)
    return torch.cat([torch.full((1,), -1.0, dtype=torch.float64), between]).to(device)
