"""Models of diffusers' image networks and schedulers; nothing here imports diffusers itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import process_of, rule_of
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier


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
    process, prediction, scale = process_of(scheduler)
    parameter = next(network.parameters())
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
