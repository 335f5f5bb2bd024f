"""Diffusers' schedulers as processes and samplers; nothing here imports diffusers itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from guidegym.diffusion.ddim import DDIM
from guidegym.diffusion.ddpm import DDPM
from guidegym.diffusion.euler import Euler
from guidegym.diffusion.flow import FlowProcess
from guidegym.diffusion.process import Process
from guidegym.diffusion.sampler import Sampler
from guidegym.diffusion.table_process import TableProcess
from guidegym.errors import GuideGymError

PREDICTED = {"epsilon": "noise", "sample": "denoised", "v_prediction": "v"}
"""What networks predict, by diffusers' names."""
VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large"}
FLOW = "FlowMatchEulerDiscreteScheduler"


class Scheduled(NamedTuple):
    """A scheduler's noise process, what its networks predict, and its times in units of the process's."""

    process: Process
    prediction: str
    unit: float


def process_of(scheduler: Any, *, dynamic: bool = False) -> Scheduled:
    """Return a scheduler's noise process.

    A flow whose noise levels depend on the size of the image is refused unless ``dynamic``; its shift is then that of the config.
    """
    config = scheduler.config
    if type(scheduler).__name__ == FLOW:
        options = ("use_dynamic_shifting",) * (not dynamic) + ("use_karras_sigmas", "invert_sigmas")
        unusual = [one for one in options if getattr(config, one, False)]
        if unusual:
            raise GuideGymError(f"has {unusual[0]}, which is not supported", argument="scheduler")
        process = FlowProcess(float(scheduler.shift), last=float(scheduler.sigma_min))
        return Scheduled(process, "velocity", getattr(config, "num_train_timesteps", 1000))
    table = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(table, Tensor):
        raise GuideGymError(
            f"must have `alphas_cumprod` or be a {FLOW}, got {type(scheduler).__name__}", argument="scheduler"
        )
    if config.prediction_type not in PREDICTED:
        raise GuideGymError(
            f"must have a prediction type of {', '.join(PREDICTED)}, got {config.prediction_type!r}",
            argument="scheduler",
        )
    final = getattr(scheduler, "final_alpha_cumprod", None)
    levels = TableProcess(
        tuple(table.double().tolist()),
        final=1.0 if final is None else float(final),
        offset=int(getattr(config, "steps_offset", 0)),
    )
    return Scheduled(levels, PREDICTED[config.prediction_type], 1.0)


def rule_of(scheduler: Any) -> Callable[[int], Sampler] | None:
    """Return the sampler of a number of steps that is the scheduler's own rule; None if there is none here."""
    kind, config = type(scheduler).__name__, scheduler.config
    if getattr(config, "thresholding", False):
        raise GuideGymError("has dynamic thresholding, which is not supported", argument="scheduler")
    if kind == FLOW:
        return Euler
    if kind == "DDIMScheduler":
        return lambda steps: DDIM(steps, spacing=config.timestep_spacing, clipping="estimate", strided=True)
    if kind == "DDPMScheduler" and config.variance_type in VARIANCES:
        variance, spacing = VARIANCES[config.variance_type], config.timestep_spacing
        return lambda steps: DDPM(steps, variance=variance, spacing=spacing, last="noisy")
    return None
