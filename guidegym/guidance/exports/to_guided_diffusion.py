"""A found guidance in guided-diffusion's sampling loops."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import rows_like
from guidegym.errors import GuideGymError
from guidegym.guidance.guide import BaseModel, GuideInput, Networks
from guidegym.guidance.guides import Guide
from guidegym.guidance.schedules import Schedule
from guidegym.guidance.targets import TargetDistribution

CondFn = Callable[..., Tensor]
"""``(x, t, y=labels) -> gradient``, of the shape of ``x``."""


def cond_fn(
    guide: Guide | None, weight: Schedule, target: TargetDistribution, base_model: BaseModel, networks: Networks
) -> CondFn:
    """Return a guide's gradient times its weight as a function; see ``Guidance.to_guided_diffusion``."""
    if guide is None:
        raise GuideGymError("a `guide` is needed for a gradient, and there is none")
    if guide.through_denoiser:
        raise GuideGymError(f"{type(guide).__name__} differentiates through the denoiser, which `cond_fn` is not given")
    guide.check(networks)
    target.check(networks)

    def function(x: Tensor, t: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        if y is None:
            raise GuideGymError("must be given: the labels, among `model_kwargs`", argument="y")
        inputs = GuideInput(networks, x, t, target.rows(networks, y).to(x), y, base_model)
        with torch.no_grad():
            found = guide.gradient(inputs)
        if found.memory is not None:
            raise GuideGymError(f"{type(guide).__name__} remembers its last step, which `cond_fn` cannot")
        scale = weight(t.cpu(), networks.process).to(x)
        return rows_like(scale, x) * found.gradient

    return function
