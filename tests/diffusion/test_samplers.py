"""Parity with diffusers on the same noise, step by step, with and without guidance."""

import itertools

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from guidegym import DDIM, DDPM, GuideGymError, VPProcess
from guidegym.diffusion import DPMSolverPP, Step

BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def _network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A smooth stand-in for a denoiser: any function of x and t must give the same chain."""
    return torch.sin(2 * x) + 0.3 * torch.cos(t[:, None] / 100) * x


def _gradient(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(1.0 - x)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("weight", [0.0, 3.0])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_ddim_equals_diffusers(schedule: str, spacing: str, weight: float, clip: float | None) -> None:
    process = VPProcess(schedule)
    ours = DDIM(20, eta=0.0, spacing=spacing)
    theirs = DDIMScheduler(
        beta_schedule=BETAS[schedule],
        timestep_spacing=spacing,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    theirs.set_timesteps(20)
    grid = ours.timesteps(process)
    assert grid[:-1].tolist() == theirs.timesteps.tolist()
    # diffusers keeps its tables in float32: near pure noise that costs digits, so start from the same x each step.
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs.alphas_cumprod = process.alpha_bar(torch.arange(1000), torch.float64)
    theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    for t, t_next in itertools.pairwise(grid):
        rows = t.expand(5)
        eps, shift = _network(x, rows), weight * _gradient(x)
        sigma = process.sigma(rows, torch.float64)[:, None]
        wanted = theirs.step(eps - sigma * shift, int(t), x, eta=0.0, use_clipped_model_output=clip is not None)
        got = ours.step(Step(x, rows, t_next.expand(5), eps, process, shift if weight else None, None, clip))
        torch.testing.assert_close(got.x_next, wanted.prev_sample, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(got.x_0, wanted.pred_original_sample, rtol=1e-5, atol=1e-5)
        x = got.x_next


@pytest.mark.parametrize("eta", [0.8, 1.0])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_stochastic_ddim_equals_diffusers_on_the_same_noise(eta: float, clip: float | None, weight: float) -> None:
    process, ours = VPProcess("cosine"), DDIM(20, eta=eta)
    theirs = DDIMScheduler(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", clip_sample=clip is not None)
    theirs.set_timesteps(20)
    theirs.alphas_cumprod = process.alpha_bar(torch.arange(1000), torch.float64)
    theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    for t, t_next in itertools.pairwise(ours.timesteps(process)):
        rows = t.expand(5)
        eps, shift = _network(x, rows), weight * _gradient(x)
        noise = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        wanted = theirs.step(
            eps - process.sigma(rows, torch.float64)[:, None] * shift,
            int(t),
            x,
            eta=eta,
            use_clipped_model_output=clip is not None,
            variance_noise=noise,
        )
        got = ours.step(Step(x, rows, t_next.expand(5), eps, process, shift if weight else None, noise, clip))
        torch.testing.assert_close(got.x_next, wanted.prev_sample, rtol=1e-5, atol=1e-5)
        x = got.x_next


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("num_steps", [20, 1000])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_ddpm_equals_diffusers(variance: str, num_steps: int, weight: float) -> None:
    process = VPProcess("linear")
    ours = DDPM(num_steps, variance=variance, spacing="leading")
    theirs = DDPMScheduler(
        beta_schedule="linear", variance_type=f"fixed_{variance}", clip_sample=False, timestep_spacing="leading"
    )
    theirs.set_timesteps(num_steps)
    theirs.alphas_cumprod = process.alpha_bar(torch.arange(1000), torch.float64)
    theirs.one = torch.tensor(1.0, dtype=torch.float64)
    grid = ours.timesteps(process)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for t, t_next in list(itertools.pairwise(grid))[:: max(num_steps // 20, 1)]:
        rows = t.expand(4)
        eps = _network(x, rows)
        step = theirs.step(eps, int(t), x, generator=torch.Generator().manual_seed(3))
        noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        wanted = step.prev_sample
        shift = None
        if weight:
            shift = weight * _gradient(x)
            beta = 1 - process.alpha_bar(rows, torch.float64) / process.alpha_bar(t_next.expand(4), torch.float64)
            ratio = process.sigma(t_next.expand(4), torch.float64) / process.sigma(rows, torch.float64)
            wanted = wanted + (beta * (ratio**2 if variance == "small" else 1))[:, None] * shift
        got = ours.step(Step(x, rows, t_next.expand(4), eps, process, shift, noise))
        torch.testing.assert_close(got.x_next, wanted, rtol=1e-5, atol=1e-5)
        x = got.x_next


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers, under NumPy 2
@pytest.mark.parametrize("num_steps", [5, 20])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_multistep_solver_equals_diffusers(num_steps: int, weight: float) -> None:
    process, ours = VPProcess("linear"), DPMSolverPP(num_steps)
    theirs = DPMSolverMultistepScheduler(beta_schedule="linear", timestep_spacing="trailing", final_sigmas_type="zero")
    theirs.set_timesteps(num_steps)
    assert ours.timesteps(process)[:-1].tolist() == theirs.timesteps.tolist()
    mine = other = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    memory = ours.init(mine)
    for t, t_next in itertools.pairwise(ours.timesteps(process)):
        rows = t.expand(5)
        sigma = process.sigma(rows, torch.float64)[:, None]
        other = theirs.step(_network(other, rows) - sigma * weight * _gradient(other), int(t), other).prev_sample
        shift = weight * _gradient(mine) if weight else None
        made = ours.step(Step(mine, rows, t_next.expand(5), _network(mine, rows), process, shift, memory=memory))
        mine, memory = made.x_next, made.memory
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


def test_ddim_with_eta_one_has_the_step_of_ddpm() -> None:
    process = VPProcess("linear")
    generator = torch.Generator().manual_seed(4)
    x, eps, noise = (torch.randn(3, 2, dtype=torch.float64, generator=generator) for _ in range(3))
    t, t_next = torch.tensor([999, 500, 20]), torch.tensor([949, 450, 10])
    ddim = DDIM(20, eta=1.0).step(Step(x, t, t_next, eps, process, noise=noise))
    ddpm = DDPM(20).step(Step(x, t, t_next, eps, process, noise=noise))
    torch.testing.assert_close(ddim.x_next, ddpm.x_next, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", [DDIM(20, eta=0.5), DDPM(20)])
def test_rows_at_different_steps_equal_rows_alone(sampler: DDIM | DDPM) -> None:
    process = VPProcess("cosine")
    generator = torch.Generator().manual_seed(5)
    x, eps, shift, noise = (torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=generator) for _ in range(4))
    grid = sampler.timesteps(process)
    index = torch.tensor([0, 7, 19, 3])
    t, t_next = grid[index], grid[index + 1]
    batch = sampler.step(Step(x, t, t_next, eps, process, shift, noise, 1.0))
    for row in range(4):
        one = slice(row, row + 1)
        alone = sampler.step(Step(x[one], t[one], t_next[one], eps[one], process, shift[one], noise[one], 1.0))
        torch.testing.assert_close(alone.x_next, batch.x_next[one], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_timesteps_descend_without_repeats_and_end_clean(steps: int, spacing: str) -> None:
    grid = DDIM(steps, spacing=spacing).timesteps(VPProcess())
    assert len(grid) == steps + 1
    assert bool((grid.diff() < 0).all())
    assert int(grid[-1]) == -1
    assert int(grid[0]) == 999 or spacing == "leading"


def test_bad_arguments_are_refused() -> None:
    for make in (
        lambda: DDIM(0),
        lambda: DDIM(10, eta=1.5),
        lambda: DDIM(10, eta=float("nan")),
        lambda: DDIM(10, spacing="wrong"),
        lambda: DDPM(0),
        lambda: DDPM(5, variance="wrong"),
        lambda: DDIM(1001).timesteps(VPProcess()),
    ):
        with pytest.raises(GuideGymError, match=r"must be|take fewer"):
            make()
