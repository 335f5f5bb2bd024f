"""Models of diffusers' image networks and schedulers; nothing here imports diffusers itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import DDIM, DDPM, Euler, FlowProcess, Process, Sampler, TableProcess
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier

PREDICTED = {"epsilon": "noise", "sample": "denoised", "v_prediction": "v"}
"""What networks predict, by diffusers' names."""
VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large"}
FLOW = "FlowMatchEulerDiscreteScheduler"


def diffusers_parts(
    network: Any,
    scheduler: Any = None,
    *,
    class_names: Sequence[str] = (),
    null_class: int | None = None,
    classifiers: Mapping[str, Classifier] | None = None,
) -> dict[str, Any]:
    """Return the arguments of a ``Model``; see ``Model.from_diffusers``."""
    if scheduler is None:
        network, scheduler = network_and_scheduler(network, "network")
    config = network.config
    channels, size = config.in_channels, config.sample_size
    if size is None:
        raise GuideGymError("must know its `sample_size`, which its config leaves out", argument="network")
    height, width = (size, size) if isinstance(size, int) else size
    conditional = getattr(config, "num_class_embeds", None) is not None
    process, prediction, flow = process_of(scheduler)
    parameter = next(network.parameters())
    scale = getattr(scheduler.config, "num_train_timesteps", 1000) if flow else 1
    networks: dict[str, Any] = {"denoiser": _unconditional(network, scale)}
    if conditional:
        networks = {"conditionals": {"conditional": _conditional(network, scale, null_class)}}
    num_classes = config.num_class_embeds - (null_class is not None) if conditional else 1
    names = tuple(class_names) or tuple(f"class {label}" for label in range(num_classes))
    if len(names) != num_classes and conditional:
        raise GuideGymError(f"must name the network's {num_classes} classes, got {len(names)}", argument="class_names")
    clips = getattr(scheduler.config, "clip_sample", False)
    return dict(
        process=process,
        event_shape=(channels, height, width),
        class_names=names,
        classifiers=dict(classifiers or {}),
        prediction=prediction,
        clip=float(scheduler.config.clip_sample_range) if clips else None,
        null_class=not conditional or null_class is not None,
        device=parameter.device,
        dtype=parameter.dtype if parameter.dtype in (torch.float32, torch.float64) else torch.float32,
        rule=rule_of(scheduler),
        **networks,
    )


def network_and_scheduler(pipeline: Any, argument: str) -> tuple[Any, Any]:
    """Return the network and the scheduler of a pipeline."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if network is None or getattr(pipeline, "scheduler", None) is None:
        raise GuideGymError(
            f"must be a pipeline with a `unet` or `transformer` and a `scheduler`, or be given with a scheduler, got "
            f"{type(pipeline).__name__}",
            argument=argument,
        )
    return network, pipeline.scheduler


def process_of(scheduler: Any, *, dynamic: bool = False) -> tuple[Process, str, bool]:
    """Return a scheduler's noise process, what its networks predict, and whether it is a flow.

    A flow whose noise levels depend on the size of the image is refused unless ``dynamic``; its shift is then that of the config.
    """
    config = scheduler.config
    if type(scheduler).__name__ == FLOW:
        options = ("use_dynamic_shifting",) * (not dynamic) + ("use_karras_sigmas", "invert_sigmas")
        unusual = [one for one in options if getattr(config, one, False)]
        if unusual:
            raise GuideGymError(f"has {unusual[0]}, which is not supported", argument="scheduler")
        return FlowProcess(float(scheduler.shift), last=float(scheduler.sigma_min)), "velocity", True
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
    process = TableProcess(
        tuple(table.double().tolist()),
        final=1.0 if final is None else float(final),
        offset=int(getattr(config, "steps_offset", 0)),
    )
    return process, PREDICTED[config.prediction_type], False


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


def _unconditional(network: Any, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return an unconditional network as a function of rows and times."""
    return lambda x, t: network(x.to(network.dtype), scale * t, return_dict=False)[0]


def _conditional(network: Any, scale: float, null_class: int | None) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a class-conditional network as a function of rows, times and labels, of which -1 is no class."""

    def predict(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        given = label if null_class is None else label.where(label >= 0, null_class)
        told: Tensor = network(x.to(network.dtype), scale * t, class_labels=given, return_dict=False)[0]
        return told

    return predict
