"""A found classifier-guidance schedule as guided-diffusion's ``cond_fn``: its loop then samples as ours."""

from enum import Enum
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import guidegym as gg
from guidegym.diffusion import INITIAL, trajectory_noise

KINDS = Enum("KINDS", "EPSILON FIXED_LARGE")
TABLE = gg.VPProcess().alpha_bar(torch.arange(1000), torch.float64)
LABELS = torch.tensor([0, 1, 1])


def _denoiser(x: Tensor, t: Tensor) -> Tensor:
    return x.tanh() * (0.5 + t.double()[:, None, None, None] / 2000).to(x)


def _classifier(x: Tensor, t: Tensor) -> Tensor:
    level = x.mean(dim=(1, 2, 3)) * (2 + t / 500)
    return torch.stack([-level, level], dim=1)


def _model() -> gg.Model:
    diffusion = SimpleNamespace(
        alphas_cumprod=TABLE,
        num_timesteps=1000,
        model_mean_type=KINDS.EPSILON,
        model_var_type=KINDS.FIXED_LARGE,
    )
    return gg.Model.from_guided_diffusion(
        _denoiser, diffusion, event_shape=(2, 4, 4), class_names=("dark", "bright"), classifiers={"level": _classifier}
    )


def test_their_loop_with_the_exported_function_samples_as_ours() -> None:
    model = _model()
    guidance = gg.Guidance(gg.Likelihood("level"), gg.Sigmoid(30.0, 0.1, 400.0, 0.01))
    function = guidance.to_guided_diffusion(model)
    sampler = gg.DDIM(20, spacing="leading", clipping="unguided")
    mine = gg.sample(model, guidance, labels=LABELS.tolist(), sampler=sampler).x
    x = trajectory_noise(
        gg.row_seeds(0, 3), torch.zeros(3, dtype=torch.long), model.event_shape, stream=INITIAL, dtype=torch.float32
    )
    for t in range(950, -1, -50):  # ddim_sample_loop over "ddim20": the noise of the clipped estimate, shifted
        times = torch.full((3,), t)
        signal, before = TABLE[t], TABLE[t - 50] if t else torch.tensor(1.0, dtype=torch.float64)
        estimate = (x - (1 - signal).sqrt() * _denoiser(x, times)) / signal.sqrt()
        noise = (x - signal.sqrt() * estimate.clamp(-1, 1)) / (1 - signal).sqrt()
        noise = noise - (1 - signal).sqrt() * function(x, times, y=LABELS)
        estimate = (x - (1 - signal).sqrt() * noise) / signal.sqrt()
        x = (before.sqrt() * estimate + (1 - before).sqrt() * noise).float()
    assert model.clip == 1.0
    assert float((mine - x).abs().max()) < 1e-4 * float(x.abs().max())
    assert float((mine - gg.sample(model, labels=LABELS.tolist(), sampler=sampler).x).abs().max()) > 0.05


def test_what_is_no_function_of_the_noisy_rows_is_refused() -> None:
    model = _model()
    likelihood = gg.Likelihood("level")
    for guidance, said in (
        (gg.Guidance(), "a `guide` is needed for a gradient"),
        (gg.Guidance(likelihood, gg.Constant(1.0), rate=gg.Constant(1.0)), "a guidance with a rate is more"),
        (gg.Guidance(gg.Likelihood("other"), gg.Constant(1.0)), "no classifier 'other'"),
        (
            gg.Guidance(gg.AtClean(likelihood, jacobian=True), gg.Constant(1.0)),
            "AtClean differentiates through the denoiser",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            guidance.to_guided_diffusion(model)
    rows = torch.zeros(3, 2, 4, 4), torch.full((3,), 500)
    with pytest.raises(ValueError, match="`y` must be given: the labels"):
        gg.Guidance(likelihood, gg.Constant(1.0)).to_guided_diffusion(model)(*rows)
    with pytest.raises(ValueError, match="Momentum remembers its last step"):
        gg.Guidance(gg.Momentum(likelihood, 0.5), gg.Constant(1.0)).to_guided_diffusion(model)(*rows, y=LABELS)
