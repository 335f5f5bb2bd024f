"""The noise process of a network's training: the shares of signal and noise at a timestep."""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import Process, VEProcess, VPProcess, noise_ratio
from guidegym.errors import GuideGymError

PROCESSES: dict[str, Process] = {
    "linear": VPProcess("linear"),
    "cosine": VPProcess("cosine"),
    "variance-exploding": VEProcess(),
}
"""Processes by their names in weight files."""


def process_name(process: Process) -> str:
    """Return the name of a process among ``PROCESSES``.

    Raises:
        GuideGymError: If it is not one of them.
    """
    for name, known in PROCESSES.items():
        if process == known:
            return name
    raise GuideGymError(f"networks are built for one of {', '.join(map(str, PROCESSES.values()))}, got {process}")


def check_process_name(argument: str, name: str) -> None:
    """Check that a name is empty or one of ``PROCESSES``."""
    if name and name not in PROCESSES:
        raise GuideGymError(f"`{argument}` must be one of {', '.join(PROCESSES)}, or empty, got {name!r}")


@functools.lru_cache(maxsize=8)
def _log_levels(name: str, device: torch.device) -> Float[Tensor, " timesteps"]:
    """Return the logarithm of each timestep's noise level in single precision, whatever the network's precision."""
    process = PROCESSES[name]
    return noise_ratio(process, process.grid()).log().float().to(device)


def signal_and_noise(name: str, t: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    r"""Return the shares :math:`a, \sigma` of signal and noise at timesteps, with :math:`a^2 + \sigma^2 = 1`.

    For a variance-preserving process they are its own; otherwise they are those of :math:`x_t` scaled to unit variance, by
    :math:`a` if the signal is unscaled. Between timesteps the logarithm of the noise level is interpolated linearly.

    Args:
        name: One of ``PROCESSES``.
        t: Timesteps in 0 .. 999.
    """
    levels = _log_levels(name, t.device)
    below = t.floor().long().clamp(0, len(levels) - 2)
    level = torch.lerp(levels[below], levels[below + 1], t.float() - below)
    return torch.sigmoid(-2 * level).sqrt(), torch.sigmoid(2 * level).sqrt()


def to_unit_variance(
    name: str, x_t: Float[Tensor, " batch *event"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch *event"]:
    """Scale noisy rows of a process that does not preserve the variance to unit variance; leave others unchanged."""
    if not isinstance(PROCESSES[name], VEProcess):
        return x_t
    share = signal_and_noise(name, t)[0].to(x_t.dtype)
    return x_t * share.reshape(-1, *[1] * (x_t.ndim - 1))
