"""Models of diffusers' text-to-image pipelines, with prompts as classes; nothing here imports diffusers itself.

A pipeline is asked how it calls its network: one run up to the first call gives the conditions of all prompts, and two real
steps of one prompt show whether guidance here is guidance there. So any pipeline that guides in the usual way is supported, and
any other is refused.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import FlowProcess, process_of, rule_of
from guidegym.errors import GuideGymError
from guidegym.models.from_diffusers import network_and_scheduler
from guidegym.models.pipeline_calls import RecordedStep, conditions_of, quiet, steps_of
from guidegym.models.prompted import PromptedNetwork

SCALES = ("true_cfg_scale", "guidance_scale")
"""Names of the scale in calls of pipelines; where both exist, the first is classifier-free guidance."""
PROBE = 3.0
"""The scale at which a pipeline's guidance is compared with ours."""
TOLERANCE = 2e-3
"""Largest difference allowed there, as a share of the largest value; half precision is allowed ten times that."""
STEPS = 4
"""Steps of the grid that is compared; two of them are done."""
DECODED = 4
"""Latents that are decoded at a time."""


def pipeline_parts(
    pipeline: Any,
    prompts: Sequence[str],
    *,
    negative_prompt: str | None = None,
    decode: Callable[[Tensor], Tensor] | None = None,
    **call: Any,
) -> dict[str, Any]:
    """Return the arguments of a ``Model``; see ``Model.from_pipeline``."""
    if isinstance(prompts, str) or not prompts or len(set(prompts)) != len(prompts):
        raise GuideGymError(f"must be a list of different prompts, got {prompts!r:.60}", argument="prompts")
    network, scheduler = network_and_scheduler(pipeline, "pipeline")
    scale = next((name for name in SCALES if name in inspect.signature(pipeline.__call__).parameters), None)
    if scale is None:
        raise GuideGymError(f"{type(pipeline).__name__} has no {' or '.join(SCALES)}", argument="pipeline")
    call = {
        **call,
        scale: PROBE,
        "num_inference_steps": STEPS,
        "output_type": "latent",
    }
    with quiet(pipeline), torch.no_grad():
        given = {"prompt": list(prompts)}
        if negative_prompt is not None or scale == SCALES[0]:
            given["negative_prompt"] = [negative_prompt or ""] * len(prompts)
        positive, negative = conditions_of(pipeline, network, {**given, **call})
        steps = steps_of(pipeline, network, {**{name: texts[:1] for name, texts in given.items()}, **call})
        process, prediction, unit = process_of(scheduler, dynamic=True)
        if isinstance(process, FlowProcess):
            process = _flow(process, scheduler)
        told = PromptedNetwork(network, positive, negative, len(prompts))
        _compare(told, steps, type(pipeline).__name__)
    told.unit *= unit
    shape = tuple(positive.x.shape[1:])
    return {
        "process": process,
        "event_shape": shape,
        "class_names": tuple(prompts),
        "conditionals": {"conditional": told},
        "prediction": prediction,
        "device": positive.x.device,
        "rule": rule_of(scheduler),
        "decode": decode or _decoder(pipeline, shape, call),
        "identity": told.digest(),
    }


def _flow(process: FlowProcess, scheduler: Any) -> FlowProcess:
    """Return the flow of a scheduler's present noise levels, also of those that depend on the image's size."""
    levels = scheduler.sigmas.double().cpu()
    candidates = [process, FlowProcess(process.shift)]
    if getattr(scheduler.config, "use_dynamic_shifting", False):
        candidates = [FlowProcess(float(levels[1] / (1 - levels[1])) / (STEPS - 1))]
    for candidate in candidates:
        times = candidate.times(STEPS)
        if len(levels) == len(times) and float((times - levels).abs().max()) < 1e-4:
            return candidate
    raise GuideGymError(
        f"has the noise levels {[round(float(level), 4) for level in levels]} in {STEPS} steps, which are not those of a "
        "shifted flow",
        argument="scheduler",
    )


def _compare(told: "PromptedNetwork", steps: Sequence[RecordedStep], what: str) -> None:
    """Check that guidance here is what the pipeline gives its scheduler."""
    if len(steps) < 2:
        raise GuideGymError(f"{what} does not call its scheduler's `step`", argument="pipeline")
    told.unit = float(steps[0].call.t.flatten()[0]) / float(steps[0].time)
    for one in steps:
        x = one.call.x[-1:]
        t = one.time.to(x.device).double().reshape(1)
        with_prompt, without = (told(x, t, torch.tensor([label], device=x.device)) for label in (0, -1))
        mine = (without + PROBE * (with_prompt - without))[:, : one.output.shape[1]].to(one.output)
        largest = float(one.output.abs().max())
        allowed = TOLERANCE * (1 if one.output.dtype in (torch.float32, torch.float64) else 10)
        if mine.shape != one.output.shape or not float((mine - one.output).abs().max()) <= allowed * largest:
            raise GuideGymError(
                f"{what} guides in another way than by `without + scale * (with - without)` of its network's outputs",
                argument="pipeline",
            )


def _decoder(pipeline: Any, shape: tuple[int, ...], call: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return the pipeline's own decoding of latents into images in [-1, 1]."""
    vae: Any = getattr(pipeline, "vae", None)
    config = getattr(vae, "config", None)
    scale = getattr(config, "scaling_factor", None)
    unpack = getattr(pipeline, "_unpack_latents", None) if len(shape) == 2 else None
    if (len(shape) != 3 and unpack is None) or scale is None:
        raise GuideGymError(
            f"must be given for latents of shape {shape}: a function that turns them into images in [-1, 1]",
            argument="decode",
        )
    offset = getattr(config, "shift_factor", None) or 0.0
    size = (
        []
        if unpack is None
        else [
            call.get(name) or pipeline.default_sample_size * pipeline.vae_scale_factor for name in ("height", "width")
        ]
    )

    def decode(x: Tensor) -> Tensor:
        x = x if unpack is None else unpack(x, *size, pipeline.vae_scale_factor)
        images = [
            vae.decode(rows.to(vae.dtype) / scale + offset, return_dict=False)[0].float() for rows in x.split(DECODED)
        ]
        return torch.cat(images).clamp(-1, 1)

    return decode
