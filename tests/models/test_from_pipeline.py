"""Text-to-image pipelines as models: samples are the pipeline's own at a constant scale, for all families."""

from collections.abc import Callable
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from torch import Tensor

import guidegym as gg
from guidegym.diffusion import INITIAL, trajectory_noise
from guidegym.guidance import weight_of_diffusers_scale

PROMPTS = ["a cat", "a red dog", "photo of a dog"]
LABELS = [0, 2, 1, 1]
FAMILIES: dict[str, Callable[[], Any]] = {
    "stable diffusion": tiny.stable_diffusion,
    "stable diffusion 2": lambda: tiny.stable_diffusion(prediction_type="v_prediction"),
    "zero terminal signal": lambda: tiny.stable_diffusion(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    ),
    "SDXL": tiny.stable_diffusion_xl,
    "SD3": tiny.stable_diffusion_3,
    "AuraFlow": tiny.aura_flow,
    "Flux": tiny.flux,
    "Flux, shift by size": lambda: tiny.flux(use_dynamic_shifting=True),
}


def _call(pipeline: Any) -> dict[str, Any]:
    return {**tiny.SIZE, **({"max_sequence_length": 16} if type(pipeline).__name__ == "FluxPipeline" else {})}


def _scale(pipeline: Any, scale: float) -> dict[str, Any]:
    if type(pipeline).__name__ == "FluxPipeline":
        return {"true_cfg_scale": scale, "negative_prompt": [""] * len(LABELS)}
    return {"guidance_scale": scale}


def _noise(model: gg.Model) -> Tensor:
    zero = torch.zeros(len(LABELS), dtype=torch.long)
    return trajectory_noise(gg.row_seeds(0, len(LABELS)), zero, model.event_shape, stream=INITIAL, dtype=torch.float32)


def _guided(scale: float) -> gg.Guidance:
    return gg.Guidance(gg.ClassifierFree(), gg.Constant(weight_of_diffusers_scale(scale)))


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_the_pipelines_own(family: str) -> None:
    pipeline = FAMILIES[family]()
    model = gg.Model.from_pipeline(pipeline, PROMPTS, **_call(pipeline))
    pipeline.set_progress_bar_config(disable=True)
    for scale in (1.0, 4.0):
        theirs = pipeline(
            [PROMPTS[label] for label in LABELS],
            num_inference_steps=6,
            latents=_noise(model),
            output_type="pt",
            **_scale(pipeline, scale),
            **_call(pipeline),
        ).images
        samples = gg.sample(model, _guided(scale), labels=LABELS, sampler=model.sampler(6))
        mine = model.images(samples.x) / 2 + 0.5
        assert mine.shape == theirs.shape
        assert float((mine - theirs).abs().max()) < 1e-4
        assert samples.cost.denoiser == len(LABELS) * 6 * (1 if scale == 1 else 2)


def test_a_negative_prompt_and_further_arguments_are_the_pipelines_own() -> None:
    pipeline = tiny.stable_diffusion_xl()
    further: dict[str, Any] = {
        "negative_prompt": "red",
        "original_size": (64, 48),
        "clip_skip": 1,
        "height": 24,
        "width": 40,
    }
    model = gg.Model.from_pipeline(pipeline, PROMPTS, **further)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        [PROMPTS[label] for label in LABELS],
        num_inference_steps=4,
        latents=_noise(model),
        guidance_scale=3.0,
        output_type="latent",
        **{**further, "negative_prompt": ["red"] * len(LABELS)},
    ).images
    mine = gg.sample(model, _guided(3.0), labels=LABELS, sampler=model.sampler(4)).x
    assert mine.shape[2:] == (12, 20)
    assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_the_pipeline_is_left_as_it_was() -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.set_progress_bar_config(desc="mine")
    before = set(vars(pipeline.unet)), set(vars(pipeline.scheduler))
    first, other = (gg.Model.from_pipeline(pipeline, prompts, **tiny.SIZE) for prompts in (PROMPTS, PROMPTS[:1]))
    assert pipeline._progress_bar_config == {"desc": "mine"}
    assert set(vars(pipeline.unet)) - before[0] == set()
    assert "step" not in vars(pipeline.scheduler)
    assert first.identity != other.identity and first.class_names == tuple(PROMPTS)


def test_half_precision_networks_take_single_precision_samples() -> None:
    pipeline = tiny.stable_diffusion().to(torch.bfloat16)
    model = gg.Model.from_pipeline(pipeline, PROMPTS, **tiny.SIZE)
    samples = gg.sample(model, _guided(2.0), labels=LABELS, sampler=model.sampler(6))
    assert samples.x.dtype == torch.float32
    assert model.images(samples.x).shape == (4, 3, 32, 32)


def test_other_ways_of_guiding_are_refused() -> None:
    pipeline = tiny.stable_diffusion()
    with pytest.raises(ValueError, match=r"^`pipeline` StableDiffusionPipeline guides in another way"):
        gg.Model.from_pipeline(pipeline, PROMPTS, guidance_rescale=0.7, **tiny.SIZE)
    with pytest.raises(ValueError, match=r"`prompts` must be a list of different prompts, got 'a cat'"):
        gg.Model.from_pipeline(pipeline, "a cat")
    with pytest.raises(ValueError, match=r"`prompts` must be a list of different prompts"):
        gg.Model.from_pipeline(pipeline, ["a cat", "a cat"])
    with pytest.raises(ValueError, match=r"`pipeline` must be a pipeline with a `unet`"):
        gg.Model.from_pipeline(pipeline.unet, PROMPTS)
    with pytest.raises(ValueError, match=r"`scheduler` has dynamic thresholding"):
        gg.Model.from_pipeline(tiny.stable_diffusion(thresholding=True), PROMPTS, **tiny.SIZE)


def test_latents_that_nothing_here_decodes_need_a_function() -> None:
    pipeline = tiny.flux()
    pipeline.vae = None
    with pytest.raises(ValueError, match=r"`decode` must be given for latents of shape \(64, 16\)"):
        gg.Model.from_pipeline(pipeline, PROMPTS, **_call(pipeline))
    model = gg.Model.from_pipeline(pipeline, PROMPTS, decode=lambda x: x[:, None].sigmoid(), **_call(pipeline))
    assert model.images(torch.zeros(2, 64, 16)).shape == (2, 1, 64, 16)


def test_as_many_prompts_as_tokens_are_not_confused_with_them() -> None:
    pipeline = tiny.flux()
    prompts = [f"a {'cat ' * number}" for number in range(16)]
    model = gg.Model.from_pipeline(pipeline, prompts, **_call(pipeline))
    few = gg.Model.from_pipeline(pipeline, prompts[:2], **_call(pipeline))
    first, second = (gg.sample(one, labels=[1], sampler=one.sampler(2)).x for one in (model, few))
    assert torch.allclose(first, second, atol=1e-5)
