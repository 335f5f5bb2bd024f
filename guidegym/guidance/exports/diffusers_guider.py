"""A guider for diffusers' modular pipelines; the only module that imports diffusers, so import it on demand."""

import json
from typing import Any

from diffusers.configuration_utils import register_to_config
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.guiders.guider_utils import BaseGuidance
from torch import Tensor

from guidegym.codec import from_object
from guidegym.guidance.classifier_free import scales


class GuideGymGuidance(ClassifierFreeGuidance):  # type: ignore[misc]
    """Classifier-free guidance by a weight schedule, whatever the number of steps.

    Steps of scale 1 evaluate the network with the prompt only.

    Args:
        weight: The schedule, as a JSON object of a guidance file.
        process: The scheduler's noise process, as a JSON object of a guidance file.
        unit: The scheduler's times in units of the process's.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, weight: str, process: str, unit: float = 1.0) -> None:
        self._weight = from_object(json.loads(weight), "schedule", "guider: weight")
        self._process = from_object(json.loads(process), "process", "guider: process")
        self._unit = unit
        # Pipelines ask before the first step whether they need a negative prompt: the largest scale tells.
        self._largest = max(scales(self._weight, self._process, self._process.grid()))
        # Not the parent's: that would add its own arguments to the config.
        BaseGuidance.__init__(self)
        self.guidance_scale, self.guidance_rescale, self.use_original_formulation = self._largest, 0.0, False

    def set_state(self, step: int, num_inference_steps: int, timestep: Tensor) -> None:
        """Take the step's scale from the schedule."""
        super().set_state(step, num_inference_steps, timestep)
        t = timestep.detach().cpu().double().reshape(-1)[:1] / self._unit
        (self.guidance_scale,) = scales(self._weight, self._process, t)

    def forward(self, pred_cond: Tensor, pred_uncond: Tensor | None = None) -> Any:
        """Return the guided prediction."""
        output = super().forward(pred_cond, pred_uncond)
        self.guidance_scale = self._largest
        return output
