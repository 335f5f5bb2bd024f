"""A process of one's own, whose times are any numbers in (0, 1]: samplers, schedules and environments take its word."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from guidegym import DDIM, DPMSolverPP, Guidance, Heun, Likelihood, Sigmoid, Table, Testbed, VPProcess, sample
from guidegym.core.engine import Engine
from guidegym.diffusion import Process, Sampler, with_steps
from guidegym.envs import GuidanceVectorEnv, check_vector_env
from guidegym.registry import names, registered
from guidegym.testbeds.gaussians import load_gaussians


class ContinuousVP:
    r"""The VP process in continuous time, :math:`\bar\alpha_t = e^{-0.1 t - 9.95 t^2}`; 0 is the clean end."""

    clean = 0.0
    prior_std = 1.0

    def grid(self) -> Tensor:
        return torch.arange(1, 1001, dtype=torch.float64) / 1000

    def times(self, num_steps: int, spacing: str = "trailing") -> Tensor:
        return torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)

    def position(self, t: Tensor) -> Tensor:
        return 1000 * t.double()

    def fraction(self, t: Tensor) -> Tensor:
        return 1 - t.double()

    def alpha_bar(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        return torch.exp(-0.1 * t.double() - 9.95 * t.double().square()).to(dtype)

    def sigma(self, t: Tensor, dtype: torch.dtype = torch.float32) -> Float[Tensor, " batch"]:
        return (1 - self.alpha_bar(t, torch.float64)).sqrt().to(dtype)


PROCESS = ContinuousVP()


@pytest.fixture(scope="module")
def testbed() -> Testbed:
    return load_gaussians(torch.device("cpu"), dtype=torch.float64, process=PROCESS)


ROWS = torch.arange(100)


@pytest.fixture(scope="module")
def fine() -> Tensor:
    """Where the ODE ends in training timesteps."""
    discrete = load_gaussians(torch.device("cpu"), dtype=torch.float64, process=VPProcess("linear"))
    return sample(discrete, None, labels=ROWS % 2, seeds=ROWS, sampler=DPMSolverPP(300)).x


def test_it_is_a_process_and_its_networks_are_asked_at_its_times(testbed: Testbed) -> None:
    assert isinstance(PROCESS, Process)
    asked: list[float] = []

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t[0]))
        return x

    x = torch.zeros(1, 2, dtype=torch.float64)
    engine = Engine(testbed.__class__(**{**vars(testbed), "denoiser": denoiser}), DDIM(4))
    state = engine.start(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    for _ in range(4):
        state = engine.step(state, None)
    assert asked == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert state.x.shape == x.shape


@pytest.mark.parametrize("name", names("sampler"))
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_every_sampler_goes_down_its_times_to_the_clean_end(name: str, num_steps: int, testbed: Testbed) -> None:
    sampler: Sampler = with_steps(registered("sampler")[name](), num_steps)
    times = sampler.timesteps(PROCESS)
    assert (float(times[0]), float(times[-1])) == (1.0, 0.0)
    assert bool((times.diff() <= 0).all())
    done = sample(testbed, Guidance(Likelihood("exact"), Table((1000.0,), (1.0,))), labels=[0, 1, 0], sampler=sampler)
    assert bool(done.x.isfinite().all())
    assert not bool(done.failed.any())


@pytest.mark.parametrize("sampler", [DDIM(200), Heun(60), DPMSolverPP(60)], ids=lambda one: type(one).__name__)
def test_the_ode_ends_where_it_ends_in_training_timesteps(sampler: Sampler, testbed: Testbed, fine: Tensor) -> None:
    """Both processes have nearly the same noise levels, and a row the same noise: so they have nearly the same end."""
    assert not sampler.is_stochastic
    mine = sample(testbed, None, labels=ROWS % 2, seeds=ROWS, sampler=sampler).x
    assert float((mine - fine).norm(dim=1).median()) < 0.05
    assert float((mine.mean(dim=0) - fine.mean(dim=0)).norm()) < 0.2


def test_a_schedule_is_the_same_curve_over_the_chain(testbed: Testbed) -> None:
    curve, discrete = Sigmoid(2.0, 0.1, 400.0, 0.01), VPProcess("linear")
    t = torch.arange(0, 1000, 100)
    torch.testing.assert_close(curve(t.double() / 1000, PROCESS), curve(t, discrete))
    steady, whole = Guidance(Likelihood("exact"), curve), DDIM(10)
    assert steady.weights(whole, PROCESS).tolist() == pytest.approx(
        [2 * (0.9 / (1 + math.exp(-0.01 * (1000 * (1 - i / 10) - 400))) + 0.1) for i in range(10)]
    )


def test_an_environment_observes_its_times(testbed: Testbed) -> None:
    env = GuidanceVectorEnv(3, testbed=testbed, num_steps=4, guide="exact")
    check_vector_env(env)
    observation, _ = env.reset(seed=0)
    assert isinstance(observation, dict)
    np.testing.assert_allclose(observation["timestep"], np.ones((3, 1)))
    observation, *_ = env.step(env.action_space.sample())
    np.testing.assert_allclose(observation["timestep"], np.full((3, 1), 0.75), atol=1e-6)
