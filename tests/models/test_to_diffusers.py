"""A found guidance back in diffusers: pipelines replay it as it is sampled here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from diffusers.modular_pipelines import StableDiffusion3AutoBlocks
from torch import Tensor

import guidegym as gg
from guidegym.diffusion import INITIAL, trajectory_noise
from guidegym.guidance import FoundFor, Schedule
from guidegym.guidance.exports.diffusers_guider import GuideGymGuidance

PROMPTS = ["a cat", "a red dog"]
STEPS = 6
CURVES: dict[str, Schedule] = {
    "high, then off": gg.Stages(4.0, 0.0, 0.5),
    "off at first": gg.Stages(0.0, 3.0, 0.3),
    "linear": gg.Linear(0.5, 5.0),
    "off": gg.Constant(0.0),
}


def _noise(model: gg.Model) -> Tensor:
    return trajectory_noise(
        gg.row_seeds(0, 2), torch.zeros(2, dtype=torch.long), model.event_shape, stream=INITIAL, dtype=torch.float32
    )


def _mine(model: gg.Model, guidance: gg.Guidance) -> Tensor:
    return gg.sample(model, guidance, labels=[0, 1], sampler=model.sampler(STEPS)).x


def _close(mine: Tensor, theirs: Tensor) -> None:
    assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("family", [tiny.stable_diffusion, tiny.stable_diffusion_xl, tiny.stable_diffusion_3])
def test_pipelines_replay_a_schedule_by_a_callback(family: Callable[[], Any], curve: str) -> None:
    pipeline = family()
    model = gg.Model.from_pipeline(pipeline, PROMPTS, **tiny.SIZE)
    guidance = gg.Guidance(gg.ClassifierFree(), CURVES[curve]).found_on(model)
    arguments = guidance.to_diffusers_call(pipeline, STEPS, **tiny.SIZE)
    assert arguments["num_inference_steps"] == STEPS
    assert "step" not in vars(pipeline.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    for _ in range(2):  # and again: the first run leaves nothing behind
        theirs = pipeline(PROMPTS, latents=_noise(model), output_type="latent", **arguments, **tiny.SIZE).images
        _close(_mine(model, guidance), theirs)


@pytest.mark.parametrize("family", [tiny.aura_flow, tiny.flux])
def test_pipelines_that_ignore_a_callback_are_refused(family: Callable[[], Any]) -> None:
    pipeline = family()
    guidance = gg.Guidance(gg.ClassifierFree(), gg.Linear(0.0, 3.0))
    with pytest.raises(ValueError, match="keeps its scale in a variable of its own"):
        guidance.to_diffusers_call(pipeline, STEPS, **tiny.SIZE)


def test_a_pipeline_that_takes_a_list_gets_one() -> None:
    pipeline = tiny.stable_diffusion()

    class WithSchedule(type(pipeline)):  # type: ignore[misc]
        def __call__(self, *args: Any, guidance_schedule: Any = None, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    pipeline.__class__ = WithSchedule
    guidance = gg.Guidance(gg.ClassifierFree(), gg.Linear(-0.5, 3.0))
    arguments = guidance.to_diffusers_call(pipeline, 4, **tiny.SIZE)
    model = gg.Model.from_pipeline(tiny.stable_diffusion(), PROMPTS, **tiny.SIZE)
    weights = guidance.weights(model.sampler(4), model.process)
    assert arguments["guidance_schedule"] == pytest.approx((1 + weights).tolist())
    assert arguments["guidance_scale"] is None


@pytest.mark.parametrize("curve", CURVES)
def test_modular_pipelines_replay_a_schedule_by_a_guider(curve: str, tmp_path: Path) -> None:
    parts = tiny.stable_diffusion_3()
    model = gg.Model.from_pipeline(parts, PROMPTS, negative_prompt="")
    guidance = gg.Guidance(gg.ClassifierFree(), CURVES[curve]).found_on(model)
    pipeline = StableDiffusion3AutoBlocks().init_pipeline()
    components = {name: one for name, one in parts.components.items() if name in pipeline._component_specs}
    guider = guidance.to_diffusers_guider(parts.scheduler)
    guider.save_pretrained(tmp_path)
    evaluations = []
    parts.transformer.register_forward_hook(lambda *_: evaluations.append(1))
    cost = gg.sample(model, guidance, labels=[0], sampler=model.sampler(STEPS)).cost.denoiser
    for one in (guider, GuideGymGuidance.from_pretrained(tmp_path), guider.new()):
        pipeline.update_components(**components, guider=one)
        for row, prompt in enumerate(PROMPTS):
            evaluations.clear()
            theirs = pipeline(
                prompt=prompt,
                negative_prompt="",
                latents=_noise(model)[row : row + 1],
                num_inference_steps=STEPS,
                output_type="latent",
                output="images",
                **tiny.SIZE,
            )
            assert len(evaluations) == cost  # steps of weight 0 do not evaluate the negative prompt
            _close(_mine(model, guidance)[row : row + 1], theirs)


def test_a_guidance_found_for_another_process_is_carried_over() -> None:
    pipeline = tiny.stable_diffusion_3()
    model = gg.Model.from_pipeline(pipeline, PROMPTS, **tiny.SIZE)
    found = gg.Guidance(gg.ClassifierFree(), gg.Linear(0.0, 3.0), found_for=FoundFor("SD", gg.VPProcess()))
    arguments = found.to_diffusers_call(pipeline, STEPS, **tiny.SIZE)
    theirs = pipeline(PROMPTS, latents=_noise(model), output_type="latent", **arguments, **tiny.SIZE).images
    _close(_mine(model, found.carried_to(model.process)), theirs)


def test_what_cannot_be_exported_is_one_line() -> None:
    pipeline = tiny.stable_diffusion()
    with pytest.raises(
        ValueError, match="only a schedule of ClassifierFree can guide a pipeline of diffusers, not Likelihood"
    ):
        gg.Guidance(gg.Likelihood("mine"), gg.Constant(1.0)).to_diffusers_guider(pipeline)
    with pytest.raises(ValueError, match=r"a callback cannot replay weights below 0, and the smallest is -0\.2"):
        gg.Guidance(gg.ClassifierFree(), gg.Linear(-0.5, 1.0)).to_diffusers_call(pipeline, STEPS, **tiny.SIZE)
