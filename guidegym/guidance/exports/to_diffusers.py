"""A found guidance in pipelines of diffusers: as a guider, as a callback, as a list."""

import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guidegym.codec import to_object
from guidegym.diffusion import process_of
from guidegym.errors import GuideGymError
from guidegym.guidance.classifier_free import scales
from guidegym.guidance.schedules import Schedule

if TYPE_CHECKING:
    from guidegym.guidance.exports.diffusers_guider import GuideGymGuidance

BARELY = 1 + 1e-6
"""The smallest scale of a callback: at 1 and below, pipelines drop half of a batch whose prompts stay doubled."""
PROBES = (2.0, 6.0)
"""Two scales whose second steps must differ if a pipeline reads its scale at each step."""


def guider(weight: Schedule, scheduler: Any) -> "GuideGymGuidance":
    """Return a guider for modular pipelines; see ``Guidance.to_diffusers_guider``."""
    try:
        from guidegym.guidance.exports.diffusers_guider import GuideGymGuidance
    except ImportError as error:
        raise GuideGymError(
            f"a guider needs diffusers with modular pipelines: pip install -U diffusers ({error})"
        ) from error
    found = process_of(getattr(scheduler, "scheduler", scheduler), dynamic=True)
    # By name: diffusers takes values given by position for defaults, and leaves them out of the config.
    made: GuideGymGuidance = GuideGymGuidance(
        weight=json.dumps(to_object(weight, "schedule")),
        process=json.dumps(to_object(found.process, "process")),
        unit=float(found.unit),
    )
    return made


def call_arguments(weight: Schedule, pipeline: Any, num_steps: int, call: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with which a pipeline's call replays a schedule; see ``Guidance.to_diffusers_call``."""
    wanted = _scales_of(weight, pipeline, num_steps, call)
    taken = inspect.signature(pipeline.__call__).parameters
    if "guidance_schedule" in taken:
        return {"num_inference_steps": num_steps, "guidance_scale": None, "guidance_schedule": wanted}
    what = type(pipeline).__name__
    if not {"guidance_scale", "callback_on_step_end"} <= set(taken):
        raise GuideGymError(f"{what} takes no `callback_on_step_end`", argument="pipeline")
    if min(wanted) < 1:
        raise GuideGymError(f"a callback cannot replay weights below 0, and the smallest is {min(wanted) - 1:g}")
    if not _reads_its_scale(pipeline, call):
        raise GuideGymError(
            f"{what} keeps its scale in a variable of its own, which a callback cannot change; a modular pipeline takes a guider",
            argument="pipeline",
        )
    return {"num_inference_steps": num_steps, **_callback(wanted)}


def _callback(wanted: list[float]) -> dict[str, Any]:
    """Return a pipeline's first scale and the callback that sets the further ones."""
    given = [max(scale, BARELY) for scale in wanted]

    def set_next(pipeline: Any, step: int, _: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        if step + 1 < len(given):
            pipeline._guidance_scale = given[step + 1]
        return kwargs

    return {"guidance_scale": given[0], "callback_on_step_end": set_next}


class _EnoughError(Exception):
    """Ends a trial."""


def _run(pipeline: Any, call: dict[str, Any], at_step: Callable[..., Any]) -> None:
    """Run a pipeline, with a function in place of its scheduler's step, until that says that it is enough."""
    before = dict(getattr(pipeline, "_progress_bar_config", {}))
    pipeline.set_progress_bar_config(**{**before, "disable": True})
    pipeline.scheduler.step = at_step
    try:
        pipeline(**{"prompt": "a", "output_type": "latent", **call})
    except _EnoughError:
        pass
    finally:
        del pipeline.scheduler.step
        pipeline.set_progress_bar_config(**before)


def _scales_of(weight: Schedule, pipeline: Any, num_steps: int, call: dict[str, Any]) -> list[float]:
    """Return the scales at the times that the pipeline gives its scheduler."""
    found = process_of(pipeline.scheduler, dynamic=True)
    times: list[Tensor] = []

    def first(*_: Any, **__: Any) -> None:
        times.append(pipeline.scheduler.timesteps.detach().cpu().double())
        raise _EnoughError

    _run(pipeline, {**call, "num_inference_steps": num_steps}, first)
    if len(times[0]) != num_steps:
        raise GuideGymError(
            f"does {len(times[0])} evaluations in {num_steps} steps, which a list of scales cannot follow",
            argument="scheduler",
        )
    return scales(weight, found.process, times[0] / found.unit)


def _reads_its_scale(pipeline: Any, call: dict[str, Any]) -> bool:
    """Return whether a scale that is set at the end of the first step changes the second one."""
    outputs: list[Tensor] = []
    step = pipeline.scheduler.step
    for scale in PROBES:
        count = 0

        def seen(output: Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == 2:
                outputs.append(output)
                raise _EnoughError
            return step(output, *args, **kwargs)

        trial = {**_callback([PROBES[0], scale]), "generator": torch.Generator().manual_seed(0)}
        _run(pipeline, {**call, **trial, "num_inference_steps": 2}, seen)
    return len(outputs) == 2 and not torch.equal(*outputs)
