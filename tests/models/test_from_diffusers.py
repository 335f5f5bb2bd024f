"""Models of diffusers: sampling is that of the scheduler's own loop, row by row."""

import itertools
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
)
from torch import Tensor

from guidegym import ClassifierFree, Constant, Guidance, GuideGymError, Likelihood, Model, row_seeds, sample
from guidegym.diffusion import INITIAL, REVERSE, trajectory_noise

ROWS, SHAPE = 3, (2, 8, 8)


def _network(**further: Any) -> UNet2DModel:
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **further,
    )
    # Random weights predict next to nothing: these predict numbers of the size of the noise.
    network.conv_out.weight.data *= 3
    return network.double().eval()


def _noise(step: int, stream: int) -> Tensor:
    return trajectory_noise(row_seeds(0, ROWS), torch.full((ROWS,), step), SHAPE, stream=stream, dtype=torch.float64)


@torch.no_grad()
def _their_loop(
    network: UNet2DModel, scheduler: Any, steps: int, monkeypatch: pytest.MonkeyPatch, **labels: Any
) -> Tensor:
    """Sample with the scheduler's own steps, from our noise."""
    scheduler.set_timesteps(steps)
    module = type(scheduler).__module__
    x = _noise(0, INITIAL)
    for number, t in enumerate(scheduler.timesteps):
        if hasattr(__import__(module, fromlist=["x"]), "randn_tensor"):
            monkeypatch.setattr(f"{module}.randn_tensor", lambda *_, n=number, **__: _noise(n, REVERSE))
        output = network(x, t, **labels).sample
        x = scheduler.step(output, t, x).prev_sample
    return x.double()


SCHEDULES: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear"},
    "scaled": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
ROUNDING = 2e-5
"""Diffusers' tables are in single precision, and alpha_bar near 0 multiplies their rounding."""


def _close(mine: Tensor, theirs: Tensor, *, within: float = ROUNDING) -> None:
    largest = float(theirs.abs().max())
    assert float((mine - theirs).abs().max()) < within * max(largest, 1.0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    "further",
    [
        {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False},
        {"timestep_spacing": "leading"},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "linspace"},
    ],
    ids=lambda one: "-".join(map(str, one.values())),
)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [10, 12])
def test_ddim_is_the_scheduler_s(
    schedule: str, prediction: str, further: dict[str, Any], clip: bool, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = DDIMScheduler(**SCHEDULES[schedule], prediction_type=prediction, clip_sample=clip, **further)
    network = _network()
    model = Model.from_diffusers(network, scheduler)
    mine = sample(model, labels=[0] * ROWS, sampler=model.sampler(steps)).x
    _close(mine, _their_loop(network, scheduler, steps, monkeypatch), within=2e-3 if schedule == "cosine" else 2e-4)


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
def test_chains_may_start_where_the_signal_ends(prediction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = DDIMScheduler(
        prediction_type=prediction, rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
    )
    assert float(scheduler.alphas_cumprod[-1]) == 0
    network = _network()
    model = Model.from_diffusers(network, scheduler)
    mine = sample(model, labels=[0] * ROWS, sampler=model.sampler(10))
    assert not bool(mine.failed.any())
    _close(mine.x, _their_loop(network, scheduler, 10, monkeypatch), within=2e-4)


@pytest.mark.parametrize(
    ("variance", "spacing", "clip"),
    list(itertools.product(["fixed_small", "fixed_large"], ["leading", "trailing"], [False, True])),
)
def test_ddpm_is_the_scheduler_s(variance: str, spacing: str, clip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = DDPMScheduler(variance_type=variance, timestep_spacing=spacing, clip_sample=clip)
    network = _network()
    model = Model.from_diffusers(network, scheduler)
    mine = sample(model, labels=[0] * ROWS, sampler=model.sampler(10)).x
    _close(mine, _their_loop(network, scheduler, 10, monkeypatch), within=2e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_is_the_scheduler_s(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    network = _network()
    model = Model.from_diffusers(network, scheduler)
    mine = sample(model, labels=[0] * ROWS, sampler=model.sampler(9))
    assert not bool(mine.failed.any())
    _close(mine.x, _their_loop(network, scheduler, 9, monkeypatch))


def test_a_pipeline_is_its_network_and_scheduler() -> None:
    pipeline = DDIMPipeline(unet=_network(), scheduler=DDIMScheduler())
    model = Model.from_diffusers(pipeline)
    assert (model.event_shape, model.clip, model.dtype, model.class_names) == (SHAPE, 1.0, torch.float64, ("class 0",))
    assert sample(model, labels=[0, 0], sampler=model.sampler(3)).x.abs().max() <= 1


def test_a_class_conditional_network_is_its_own_base(monkeypatch: pytest.MonkeyPatch) -> None:
    network, labels = _network(num_class_embeds=4), torch.tensor([0, 2, 1])
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    model = Model.from_diffusers(network, scheduler, class_names=("a", "b", "c"), null_class=3)
    unguided = sample(model, labels=labels, sampler=model.sampler(10))
    _close(unguided.x, _their_loop(network, scheduler, 10, monkeypatch, class_labels=labels), within=2e-4)
    assert unguided.cost.denoiser == 30

    def guided_by_hand(x: Tensor, t: Tensor, **_: Any) -> Any:
        conditional, none = (network(x, t, class_labels=one).sample for one in (labels, torch.full_like(labels, 3)))
        return type("Output", (), {"sample": conditional + 2.0 * (conditional - none)})

    guided = sample(model, Guidance(ClassifierFree(), Constant(2.0)), labels=labels, sampler=model.sampler(10))
    _close(guided.x, _their_loop(guided_by_hand, scheduler, 10, monkeypatch), within=2e-4)
    assert guided.cost.denoiser == 60


def test_without_a_null_class_classifier_free_guidance_says_so() -> None:
    model = Model.from_diffusers(_network(num_class_embeds=3), DDIMScheduler())
    with pytest.raises(GuideGymError, match="has no class that stands for none, which classifier-free guidance needs"):
        sample(model, Guidance(ClassifierFree(), Constant(1.0)), labels=[0])


def test_a_classifier_of_one_s_own_guides_it() -> None:
    def classify(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([x.mean(dim=(1, 2, 3)), -x.mean(dim=(1, 2, 3))], dim=1)

    model = Model.from_diffusers(
        _network(num_class_embeds=2), DDIMScheduler(clip_sample=False), classifiers={"mean": classify}
    )
    weak, strong = (
        sample(model, Guidance(Likelihood("mean"), Constant(weight)), labels=[0, 0], sampler=model.sampler(10)).x.mean()
        for weight in (0.0, 500.0)
    )
    assert strong > weak


def test_any_other_scheduler_lends_its_noise_levels() -> None:
    model = Model.from_diffusers(_network(), DPMSolverMultistepScheduler())
    assert repr(model.sampler(7)) == "DDIM(num_steps=7, eta=0.0, spacing='trailing')"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Model.from_diffusers(object()), "`network` must be a pipeline with a `unet` or `transformer`"),
        (
            lambda: Model.from_diffusers(_network(), DDIMScheduler(thresholding=True)),
            "`scheduler` has dynamic thresholding, which is not supported",
        ),
        (
            lambda: Model.from_diffusers(_network(), FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)),
            "`scheduler` has use_dynamic_shifting, which is not supported",
        ),
        (
            lambda: Model.from_diffusers(_network(num_class_embeds=3), DDIMScheduler(), class_names=("a",)),
            "`class_names` must name the network's 3 classes, got 1",
        ),
    ],
)
def test_wrong_input_gets_one_line(make: Any, said: str) -> None:
    with pytest.raises(GuideGymError, match=said):
        make()


@pytest.mark.parametrize("further", [{}, {"num_class_embeds": 3}])
def test_networks_in_half_precision_get_rows_in_theirs(further: dict[str, Any]) -> None:
    network = _network(**further).bfloat16()
    model = Model.from_diffusers(network, DDIMScheduler())
    samples = sample(model, labels=[0] * ROWS, sampler=model.sampler(10))
    assert samples.x.dtype == torch.float32
