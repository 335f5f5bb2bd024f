"""Models of other libraries with random weights, each sampled by guidegym, by its own loop, and by bare network calls."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from published_loops import Draw, ddim_sample_loop, edm_sampler, p_sample_loop
from torch import Tensor, nn

import guidegym as gg
from guidegym.diffusion import INITIAL, REVERSE, Sampler, trajectory_noise
from guidegym.guidance import weight_of_diffusers_scale

SCALE = 3.0
"""Guidance scale of every guided family, in the words of its library."""
CLASSES = 4
PROMPTS = ["a cat", "a dog", "photo of a cat", "a red dog"]


@dataclass(frozen=True)
class Family:
    """Three ways to spend the same network calls.

    Args:
        name: The family.
        bare: The network calls alone, on fixed rows.
        ours: guidegym's samples.
        theirs: The library's samples from the same starting noise; the noise of a step may be given.
        noise: guidegym's noise of a step, for the comparison of both; None for deterministic loops.
    """

    name: str
    bare: Callable[[], object]
    ours: Callable[[], Tensor]
    theirs: Callable[[Draw | None], Tensor]
    noise: Draw | None = None


@dataclass(frozen=True)
class Setting:
    """How much to sample.

    Args:
        rows: Rows of a batch.
        steps: Reverse steps, a divisor of 1000.
        width: Channels of the networks.
        device: Where they run.
    """

    rows: int
    steps: int
    width: int
    device: torch.device

    @property
    def labels(self) -> Tensor:
        """The classes or prompts of the rows."""
        return torch.arange(self.rows, device=self.device) % CLASSES

    def noise(self, model: gg.Model, step: int = 0, stream: int = INITIAL) -> Tensor:
        """Return guidegym's noise."""
        seeds = gg.row_seeds(0, self.rows).to(self.device)
        return trajectory_noise(seeds, torch.full_like(seeds, step), model.event_shape, stream=stream)

    def ours(self, model: gg.Model, guidance: gg.Guidance, sampler: Sampler) -> Callable[[], Tensor]:
        """Return guidegym's way to sample."""
        return lambda: gg.sample(model, guidance, labels=self.labels, sampler=sampler, batch_size=self.rows).x

    def times(self, sampler: Sampler, model: gg.Model) -> Tensor:
        """Return the times of a sampler's steps."""
        return sampler.timesteps(model.process)[:-1].to(self.device)

    def network(self, out: int = 3, **further: Any) -> UNet2DModel:
        """Return a network for images of 3 channels and 16 x 16 pixels."""
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=16,
            in_channels=3,
            out_channels=out,
            block_out_channels=(self.width, 2 * self.width),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=8,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            **further,
        )
        return network.eval().to(self.device)


@torch.no_grad()
def _bare(calls: Callable[[Tensor], object], times: Tensor) -> None:
    """Do the network calls of all steps."""
    for t in times:
        calls(t)


def unconditional(setting: Setting) -> Family:
    """A diffusers network without classes, by its DDIM scheduler."""
    network, scheduler = setting.network(), DDIMScheduler(clip_sample=False)
    model = gg.Model.from_diffusers(network, scheduler)
    sampler, x = model.sampler(setting.steps), setting.noise(model)
    times = setting.times(sampler, model)

    @torch.no_grad()
    def theirs(_: Draw | None) -> Tensor:
        scheduler.set_timesteps(setting.steps, device=setting.device)
        now = x
        for t in scheduler.timesteps:
            now = scheduler.step(network(now, t).sample, t, now).prev_sample
        return now

    def ours() -> Tensor:
        return gg.sample(model, labels=[0] * setting.rows, sampler=sampler, batch_size=setting.rows).x

    return Family("UNet2DModel, DDIM", lambda: _bare(lambda t: network(x, t), times), ours, theirs)


def class_conditional(setting: Setting) -> Family:
    """A class-conditional diffusers network with classifier-free guidance, both halves in one call as in its pipelines."""
    network, scheduler = setting.network(num_class_embeds=CLASSES + 1), DDIMScheduler(clip_sample=False)
    names = tuple(map(str, range(CLASSES)))
    model = gg.Model.from_diffusers(network, scheduler, class_names=names, null_class=CLASSES)
    sampler, x, labels = model.sampler(setting.steps), setting.noise(model), setting.labels
    none, times = torch.full_like(labels, CLASSES), setting.times(sampler, model)

    @torch.no_grad()
    def theirs(_: Draw | None) -> Tensor:
        scheduler.set_timesteps(setting.steps, device=setting.device)
        now = x
        for t in scheduler.timesteps:
            both = network(torch.cat([now] * 2), t, class_labels=torch.cat([none, labels])).sample
            without, told = both.chunk(2)
            now = scheduler.step(without + SCALE * (told - without), t, now).prev_sample
        return now

    guidance = gg.Guidance(gg.ClassifierFree(), gg.Constant(weight_of_diffusers_scale(SCALE)))
    return Family(
        "UNet2DModel, classifier-free",
        lambda: _bare(lambda t: [network(x, t, class_labels=one) for one in (labels, none)], times),
        setting.ours(model, guidance, sampler),
        theirs,
    )


def _pipeline(setting: Setting, name: str, pipeline: Any, conditions: dict[str, str]) -> Family:
    """A text-to-image pipeline; its prompts are encoded before, for both."""
    pipeline = pipeline.to(setting.device)
    pipeline.set_progress_bar_config(disable=True)
    model = gg.Model.from_pipeline(pipeline, PROMPTS, height=32, width=32)
    sampler, x, labels = model.sampler(setting.steps), setting.noise(model), setting.labels
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    tables = model.conditionals["conditional"].kwargs  # type: ignore[attr-defined]
    given = {key: tables[key].rows[labels] for key in conditions}
    without = {key: tables[key].rows[-1:].expand_as(one) for key, one in given.items()}
    named = {theirs: given[key] for key, theirs in conditions.items()}
    named |= {f"negative_{theirs}": without[key] for key, theirs in conditions.items()}
    arguments = {"height": 32, "width": 32, "guidance_scale": SCALE, "output_type": "latent", **named}

    def theirs(_: Draw | None) -> Tensor:
        images: Tensor = pipeline(num_inference_steps=setting.steps, latents=x, **arguments).images
        return images

    rows = "hidden_states" if network is getattr(pipeline, "transformer", None) else "sample"

    def calls(t: Tensor) -> None:
        for one in (given, without):
            network(**{rows: x}, timestep=t.float().expand(setting.rows), **one, return_dict=False)

    guidance = gg.Guidance(gg.ClassifierFree(), gg.Constant(weight_of_diffusers_scale(SCALE)))
    times = setting.times(sampler, model)
    return Family(name, lambda: _bare(calls, times), setting.ours(model, guidance, sampler), theirs)


def _tiny() -> Any:
    """Return the tests' pipelines, which need no download."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import tiny_pipelines

    return tiny_pipelines


def stable_diffusion(setting: Setting) -> Family:
    """Stable Diffusion 1, by DDIM."""
    pipeline = _tiny().stable_diffusion()
    config = {**pipeline.unet.config, "block_out_channels": (setting.width, 2 * setting.width)}
    pipeline.unet = type(pipeline.unet).from_config(config).eval()
    return _pipeline(setting, "Stable Diffusion, prompts", pipeline, {"encoder_hidden_states": "prompt_embeds"})


def stable_diffusion_3(setting: Setting) -> Family:
    """Stable Diffusion 3, a flow."""
    pipeline = _tiny().stable_diffusion_3()
    heads = setting.width // 2
    config = {**pipeline.transformer.config, "num_attention_heads": heads, "caption_projection_dim": 8 * heads}
    pipeline.transformer = type(pipeline.transformer).from_config(config).eval()
    texts = {"encoder_hidden_states": "prompt_embeds", "pooled_projections": "pooled_prompt_embeds"}
    return _pipeline(setting, "Stable Diffusion 3, a flow", pipeline, texts)


def edm(setting: Setting, churn: float) -> Family:
    """EDM's denoiser with its preconditioning, by Heun's method."""
    network = setting.network()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.to(x).reshape(-1, 1, 1, 1)
        total = (level.square() + 0.25).sqrt()
        raw = network(x / total, level.flatten().log() / 4).sample
        clean: Tensor = 0.25 / total.square() * x + 0.5 * level / total * raw
        return clean

    model = gg.Model(
        process=gg.EDMProcess(),
        denoiser=denoise,
        prediction="denoised",
        event_shape=(3, 16, 16),
        class_names=("all",),
        device=setting.device,
    )
    settings = {"churn": churn, "churn_min": 0.05, "churn_max": 50.0, "churn_noise": 1.003} if churn else {}
    sampler = gg.Heun(setting.steps, **settings)
    x, levels = setting.noise(model), sampler.timesteps(model.process).to(setting.device)
    twice = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2)])

    def ours() -> Tensor:
        return gg.sample(model, labels=[0] * setting.rows, sampler=sampler, batch_size=setting.rows).x

    return Family(
        "EDM, Heun with churn" if churn else "EDM, Heun",
        lambda: _bare(lambda t: denoise(x, t.expand(setting.rows)), twice),
        ours,
        lambda draw: edm_sampler(denoise, x, levels, draw, **settings),
        (lambda step: setting.noise(model, step, REVERSE)) if churn else None,
    )


def guided_diffusion(setting: Setting, loop: str) -> Family:
    """An ADM network with learned variance, guided by a classifier of noisy images."""
    unet = setting.network(out=6)
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    classifier = nn.Sequential(body, nn.Linear(256, CLASSES)).to(setting.device)

    def network(x: Tensor, t: Tensor) -> Tensor:
        told: Tensor = unet(x, t).sample
        return torch.cat([told[:, :3], told[:, 3:].tanh()], dim=1)

    def classify(x: Tensor, t: Tensor) -> Tensor:
        logits: Tensor = classifier(x) * (1 - t[:, None] / 2000)
        return logits

    process = gg.VPProcess("cosine")
    alpha_bars = process.alpha_bar(process.grid(), torch.float64)
    diffusion = SimpleNamespace(
        alphas_cumprod=alpha_bars,
        num_timesteps=1000,
        model_mean_type=SimpleNamespace(name="EPSILON"),
        model_var_type=SimpleNamespace(name="LEARNED_RANGE"),
    )
    model = gg.Model.from_guided_diffusion(
        network, diffusion, event_shape=(3, 16, 16), class_names=tuple("abcd"), classifiers={"noisy": classify}
    )
    ancestral = loop == "p_sample_loop"
    sampler = model.sampler(setting.steps)
    if not ancestral:
        sampler = gg.DDIM(setting.steps, spacing="leading", clipping="unguided")
    x, labels, times = setting.noise(model), setting.labels, setting.times(sampler, model)

    def cond_fn(now: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = now.detach().requires_grad_(True)
            wanted = classify(leaf, t).log_softmax(dim=-1)[range(len(now)), labels]
            return torch.autograd.grad(wanted.sum(), leaf)[0] * SCALE

    def calls(t: Tensor) -> None:
        step = t.float().expand(setting.rows)
        network(x, step)
        cond_fn(x, step)

    run = p_sample_loop if ancestral else ddim_sample_loop
    return Family(
        f"guided-diffusion, {loop}",
        lambda: _bare(calls, times),
        setting.ours(model, gg.Guidance(gg.Likelihood("noisy"), gg.Constant(SCALE)), sampler),
        lambda draw: run(network, cond_fn, x, times, alpha_bars.to(setting.device), draw),
        (lambda step: setting.noise(model, step, REVERSE)) if ancestral else None,
    )


def families(setting: Setting) -> Iterator[Family]:
    """Return all families, one after another."""
    makes = (unconditional, class_conditional, stable_diffusion, stable_diffusion_3)
    yield from (make(setting) for make in makes)
    yield from (edm(setting, churn) for churn in (0.0, 40.0))
    yield from (guided_diffusion(setting, loop) for loop in ("ddim_sample_loop", "p_sample_loop"))
