"""Predictor-corrector, the probability-flow ODE and annealed Langevin dynamics, under both processes."""

import itertools
from dataclasses import replace

import pytest
import torch
from guide_inputs import mixture_of

from guidegym import (
    DDIM,
    DDPM,
    AnnealedLangevin,
    Constant,
    Guidance,
    GuideGymError,
    Likelihood,
    PredictorCorrector,
    ProbabilityFlow,
    Testbed,
    VEProcess,
    VPProcess,
    sample,
)
from guidegym.core.engine import Engine
from guidegym.core.state import State, join
from guidegym.diffusion import (
    DPMSolverPP,
    Euler,
    Heun,
    Process,
    Sampler,
    noise_ratio,
    noise_share,
    vp_timesteps,
    with_steps,
)
from guidegym.registry import names, registered
from guidegym.testbeds import variance_exploding
from guidegym.testbeds.gaussians import MEANS, SHARES, SPREADS, load_gaussians

PROCESSES: dict[str, Process] = {"vp": VPProcess("linear"), "ve": VEProcess()}
MARGINAL, CONDITIONAL = Guidance(), Guidance(Likelihood("exact"), Constant(1.0))
FINE: dict[str, Sampler] = {
    "ddim": DDIM(100, eta=1.0),
    "ddpm": DDPM(200),
    "predictor_corrector": PredictorCorrector(400),
    "probability_flow": ProbabilityFlow(79),
    "annealed_langevin": AnnealedLangevin(400, repeats=5),
    "euler": Euler(200),
    "heun": Heun(40),
    "dpm_solver_pp": DPMSolverPP(40),
}
BIAS = {"ddim": 0.03, "ddpm": 0.03, "predictor_corrector": 0.03, "probability_flow": 0.01, "annealed_langevin": 0.05}
BIAS |= {"euler": 0.03, "heun": 0.01, "dpm_solver_pp": 0.01}
"""What discretisation may add to sampling error, as a share of the spread."""


def _testbed(process: str) -> Testbed:
    return load_gaussians(torch.device("cpu"), dtype=torch.float64, process=PROCESSES[process])


def _moments(label: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of the clean mixture, of one class or of all."""
    chosen = range(len(MEANS)) if label is None else [label]
    means = torch.tensor([MEANS[y][m] for y in chosen for m in range(3)], dtype=torch.float64)
    shares = torch.tensor([SHARES[y][m] / len(chosen) for y in chosen for m in range(3)], dtype=torch.float64)[:, None]
    spreads = torch.tensor([SPREADS[y][m] for y in chosen for m in range(3)], dtype=torch.float64)[:, None]
    mean = (shares * means).sum(dim=0)
    return mean, (shares * (spreads.square() + means.square())).sum(dim=0) - mean.square()


def test_every_sampler_is_tried() -> None:
    assert FINE.keys() == registered("sampler").keys()


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("label", [None, 1])
def test_samples_have_the_moments_of_the_exact_mixture(process: str, name: str, label: int | None) -> None:
    num = 2000
    x = sample(
        _testbed(process),
        MARGINAL if label is None else CONDITIONAL,
        labels=[label or 0] * num,
        sampler=FINE[name],
        batch_size=num,
        seed=5,
    ).x
    mean, variance = _moments(label)
    spread = variance.sqrt()
    error = 4 * spread / num**0.5
    assert bool(((x.mean(dim=0) - mean).abs() < error + BIAS[name] * spread).all())
    assert bool(((x.std(dim=0) - spread).abs() < error + BIAS[name] * spread).all())


def _ode_end(testbed: Testbed, x: torch.Tensor, steps: int) -> torch.Tensor:
    """Integrate the ODE in log sigma by fourth-order Runge-Kutta with the closed-form score, and go to the clean estimate."""
    process = testbed.process
    assert isinstance(process, VEProcess)
    mixture = mixture_of(testbed)

    def eps(x: torch.Tensor, sigma: float) -> torch.Tensor:
        variance = mixture.spreads.square() + sigma**2
        offset = mixture.means - x[:, None, None, :]
        log = mixture.shares.log() - offset.square().sum(dim=-1) / (2 * variance) - variance.log()
        share = log.flatten(1).softmax(dim=1).reshape(log.shape)
        return -sigma * (share[..., None] * offset / variance[..., None]).sum(dim=(1, 2))

    log_sigma = torch.linspace(0, 1, steps + 1, dtype=torch.float64).mul(
        float(torch.tensor(process.sigma_min / process.sigma_max).log())
    ) + float(torch.tensor(process.sigma_max, dtype=torch.float64).log())
    for now, then in zip(log_sigma[:-1].tolist(), log_sigma[1:].tolist(), strict=True):
        h = then - now

        def slope(x: torch.Tensor, at: float) -> torch.Tensor:
            sigma = 2.718281828459045**at
            moved: torch.Tensor = sigma * eps(x, sigma)
            return moved

        k1 = slope(x, now)
        k2 = slope(x + h / 2 * k1, now + h / 2)
        k3 = slope(x + h / 2 * k2, now + h / 2)
        k4 = slope(x + h * k3, then)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x - process.sigma_min * eps(x, process.sigma_min)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "order"),
    [(ProbabilityFlow(3), 2.0), (DDIM(3), 1.0), (Euler(3), 1.0), (Heun(3), 2.0), (DPMSolverPP(3), 2.0)],
    ids=lambda one: type(one).__name__,
)
def test_the_order_of_convergence(sampler: Sampler, order: float) -> None:
    # A process with as many levels as the finest chain, so that coarser ones are sub-sequences of the same grid.
    process = VEProcess(0.05, 20.0, num_timesteps=241)
    testbed = load_gaussians(torch.device("cpu"), dtype=torch.float64, process=process)
    errors = []
    for intervals in (30, 60, 120):
        # The grid must meet both ends: intervals + 1 levels, every (240 / intervals)-th.
        stride = 240 // intervals
        coarse = load_gaussians(
            torch.device("cpu"), dtype=torch.float64, process=VEProcess(0.05, 20.0, num_timesteps=240 // stride + 1)
        )
        calls = 2 * intervals if isinstance(sampler, ProbabilityFlow) else intervals + 1
        engine = Engine(coarse, with_steps(sampler, calls))
        state = engine.start(torch.zeros(64, dtype=torch.long), torch.arange(64))
        start = state.x
        for _ in range(calls):
            state = engine.step(state, None)
        errors.append(float((state.x - _ode_end(testbed, start, 500)).square().mean().sqrt()))
    rates = [float(torch.tensor(a / b).log2()) for a, b in itertools.pairwise(errors)]
    assert rates[-1] == pytest.approx(order, abs=0.25), (errors, rates)


@pytest.mark.parametrize("name", names("sampler"))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_any_number_of_steps_is_so_many_evaluations_and_ends_clean(name: str, num_steps: int, process: Process) -> None:
    sampler = registered("sampler")[name](num_steps)
    grid = sampler.timesteps(process)
    assert len(grid) == num_steps + 1
    assert grid[0] == process.grid()[-1]
    assert float(grid[-1]) == process.clean
    assert bool((grid.diff() <= 0).all())
    assert float(grid[-2]) > process.clean


def _mean_error(sampler: Sampler, exact: Testbed, end: torch.Tensor, start: State) -> float:
    engine = Engine(exact, sampler)
    state = replace(start, solver=sampler.init(start.x))
    for _ in range(sampler.num_steps):
        state = engine.step(state, None)
    return float((state.x - end).norm(dim=1).mean())


@pytest.mark.slow
def test_two_evaluations_a_step_are_counted_and_the_second_order_rules_are_nearer_at_equal_cost(exact: Testbed) -> None:
    finest = Engine(exact, DDIM(500))
    start = finest.start(torch.arange(64) % 2, torch.arange(64))
    end = start
    for _ in range(500):
        end = finest.step(end, None)
    rules: dict[str, Sampler] = {"ddim": DDIM(10), "2m": DPMSolverPP(10), "euler": Euler(10)}
    errors = {name: _mean_error(sampler, exact, end.x, start) for name, sampler in rules.items()}
    assert errors["euler"] == pytest.approx(errors["ddim"])
    assert errors["2m"] < 0.8 * errors["ddim"]
    engine, weight = Engine(exact, Heun(6), Likelihood("exact")), torch.ones(3, dtype=torch.float64)
    state = engine.start(torch.tensor([0, 1, 0]), torch.arange(3))
    level = noise_ratio(exact.process, engine.timesteps[:-1])
    twice = int((level <= 80).sum()) - 1  # the last step, to the clean end, is Euler's
    for _ in range(6):
        state = engine.step(state, weight)
    assert state.evaluations[:, :3].tolist() == [[6 + twice] * 3] * 3
    after = engine.step(state, weight)
    assert torch.equal(after.x, state.x)


@pytest.mark.slow
def test_a_weight_holds_at_both_evaluations_of_a_step(exact: Testbed) -> None:
    """Guided by the exact posterior at weight 1, Heun's method solves the ODE of the class."""
    labels, seeds = torch.arange(200) % 2, torch.arange(200)
    fine = sample(exact, CONDITIONAL, labels=labels, seeds=seeds, sampler=Heun(200)).x
    rules: dict[str, Sampler] = {"ddim": DDIM(60), "heun": Heun(30)}
    ends = {name: sample(exact, CONDITIONAL, labels=labels, seeds=seeds, sampler=one).x for name, one in rules.items()}
    error = {name: float((end - fine).norm(dim=1).mean()) for name, end in ends.items()}
    assert error["heun"] < 0.85 * error["ddim"]


def test_rows_at_different_steps_advance_as_they_would_alone(exact: Testbed) -> None:
    for name, sampler in FINE.items():
        engine = Engine(exact, with_steps(sampler, 9), Likelihood("exact"))
        weight = torch.ones(1, dtype=torch.float64)
        first, second = (engine.start(torch.tensor([row]), torch.tensor([row])) for row in (0, 1))
        for _ in range(3):
            second = engine.step(second, weight)
        both = join([first, second])
        for _ in range(5):
            both = engine.step(both, weight.expand(2))
            first, second = engine.step(first, weight), engine.step(second, weight)
            torch.testing.assert_close(both.x, torch.cat([first.x, second.x]), msg=name)


def test_noise_levels_have_one_name_in_both_processes() -> None:
    vp, ve = VPProcess("cosine"), VEProcess()
    t = torch.arange(1000)
    torch.testing.assert_close(noise_share(vp, t), 1 - vp.alpha_bar(t, torch.float64))
    torch.testing.assert_close(noise_ratio(ve, t), ve.sigma(t, torch.float64))
    at = vp_timesteps(ve, vp, torch.device("cpu"))
    assert float(at[0]) == -1
    assert bool((at[1:].diff() > 0).all())
    wanted = noise_ratio(ve, t)
    assert bool((noise_ratio(vp, at[1:].floor().long()) <= wanted * (1 + 1e-9)).all())
    assert bool((noise_ratio(vp, at[1:].ceil().long()) >= wanted * (1 - 1e-9)).all())


@pytest.mark.parametrize("steps", [(150, 700), (3, 990)])
def test_the_change_of_variables_is_exact(steps: tuple[int, int], exact: Testbed) -> None:
    """Under VE at the noise levels of two VP timesteps, wrapped networks say what closed forms under VE say."""
    levels = noise_ratio(exact.process, torch.tensor(steps)).tolist()
    ve = VEProcess(levels[0], levels[1], num_timesteps=2)
    wrapped = variance_exploding(exact, ve)
    closed = load_gaussians(torch.device("cpu"), dtype=torch.float64, process=ve)
    x = 3 * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    t, label = torch.tensor([0, 1] * 3), torch.tensor([0, 1, -1, 1, 0, -1])
    torch.testing.assert_close(wrapped.denoiser(x, t.double()), closed.denoiser(x, t.double()), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        *(one.conditional("conditional")(x, t.double(), label) for one in (wrapped, closed)), rtol=1e-8, atol=1e-8
    )
    slopes = []
    for testbed in (wrapped, closed):
        leaf = x.clone().requires_grad_(True)
        log_p = testbed.classifier("exact")(leaf, t.double()).log_softmax(dim=1)
        slopes.append(torch.autograd.grad(log_p[:, 0].sum(), leaf)[0])
        torch.testing.assert_close(log_p.detach(), closed.classifier("exact")(x, t.double()).log_softmax(dim=1))
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-8, atol=1e-8)


def test_only_a_vp_testbed_goes_under_ve() -> None:
    with pytest.raises(GuideGymError, match="must have a VPProcess, got VEProcess"):
        variance_exploding(_testbed("ve"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: VEProcess(2.0, 1.0), "0 < min < max, got 2.0, 1.0"),
        (lambda: VEProcess(num_timesteps=1), "`num_timesteps` must be >= 2, got 1"),
        (lambda: PredictorCorrector(10, snr=0.0), r"`snr` must be in \(0, 1\), got 0.0"),
        (lambda: PredictorCorrector(10, corrections=-1), "`corrections` must be a whole number >= 0, got -1"),
        (lambda: AnnealedLangevin(10, size=2.0), r"`size` must be in \(0, 2\), got 2.0"),
        (lambda: AnnealedLangevin(10, repeats=0), "`repeats` must be a whole number >= 1, got 0"),
        (lambda: ProbabilityFlow(0), "`num_steps` must be a whole number >= 1, got 0"),
    ],
)
def test_what_is_not_allowed(wrong: object, message: str) -> None:
    with pytest.raises(GuideGymError, match=message):
        wrong()  # type: ignore[operator]
