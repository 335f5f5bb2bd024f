"""Whatever a network predicts, and under whatever process, sampling is that of the exact noise."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from guidegym import (
    DDIM,
    ClassifierFree,
    ConditionalDenoiser,
    Constant,
    DPMSolverPP,
    EDMProcess,
    Euler,
    FlowProcess,
    Guidance,
    GuideGymError,
    Heun,
    Likelihood,
    PredictorCorrector,
    Process,
    Testbed,
    VPProcess,
    row_seeds,
    sample,
)
from guidegym.diffusion import INITIAL, PREDICTIONS, Sampler, read_prediction, rows_like, trajectory_noise
from guidegym.testbeds.gaussians import load_gaussians

PROCESSES: dict[str, Process] = {"vp": VPProcess("cosine"), "edm": EDMProcess(0.01, 80.0), "flow": FlowProcess(3.0)}
LABELS = torch.arange(60) % 2


def _testbed(process: str) -> Testbed:
    return load_gaussians(torch.device("cpu"), dtype=torch.float64, process=PROCESSES[process])


def _converted(testbed: Testbed, kind: str) -> Testbed:
    """Return the testbed with networks that predict another quantity, made of the exact noise."""
    process = testbed.process

    def told(x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        a = rows_like(process.alpha_bar(t, torch.float64).sqrt(), x)
        sigma = rows_like(process.sigma(t, torch.float64), x)
        x_0 = (x - sigma * eps) / a
        return {
            "noise": eps,
            "denoised": x_0,
            "v": a * eps - sigma * x_0,
            "velocity": eps - x_0,
            "score": -eps / sigma,
        }[kind]

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        return told(x, testbed.denoiser(x, t), t)

    def conditional(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return told(x, testbed.conditionals["conditional"](x, t, label), t)

    return replace(testbed, denoiser=denoiser, conditionals={"conditional": conditional}, prediction=kind)


GUIDANCES = {
    "none": Guidance(),
    "classifier": Guidance(Likelihood("exact"), Constant(1.5)),
    "classifier_free": Guidance(ClassifierFree(), Constant(1.5), base_model=ConditionalDenoiser()),
}


@pytest.mark.parametrize("kind", [kind for kind in PREDICTIONS if kind != "noise"])
@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("clip", [None, 2.0])
def test_a_converted_network_samples_what_the_noise_does(kind: str, guidance: str, clip: float | None) -> None:
    testbed = replace(_testbed("vp"), clip=clip)
    wanted, got = (
        sample(one, GUIDANCES[guidance], labels=LABELS, sampler=DDIM(20, eta=0.5), seed=3)
        for one in (testbed, _converted(testbed, kind))
    )
    torch.testing.assert_close(got.x, wanted.x, rtol=1e-8, atol=1e-8)
    assert got.cost == wanted.cost


def test_reading_inverts_what_was_mixed() -> None:
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    a, sigma = torch.rand(2, 5, 1, generator=generator, dtype=torch.float64)
    outputs = {"denoised": x_0, "v": a * eps - sigma * x_0, "velocity": eps - x_0}
    for kind, output in outputs.items():
        told = read_prediction(kind, output, a * x_0 + sigma * eps, signal=a, sigma=sigma)
        torch.testing.assert_close(told.eps, eps)
        torch.testing.assert_close(told.x_0, x_0)


def _points(process: str, sampler: Sampler, guidance: Guidance = GUIDANCES["none"]) -> Tensor:
    testbed = _testbed(process)
    # Predictions that a sampler can use where the signal ends.
    testbed = _regular(testbed) if process == "flow" else testbed
    done = sample(testbed, guidance, labels=torch.arange(2000) % 2, sampler=sampler, seed=1, batch_size=2000)
    assert not bool(done.failed.any())
    return done.x


def _regular(testbed: Testbed) -> Testbed:
    """Return a flow's testbed with networks that predict the velocity, at t = 1 too, where the noise says nothing."""
    process = testbed.process

    def velocity(x: Tensor, t: Tensor, *label: Tensor) -> Tensor:
        inside = t.clamp(max=1 - 1e-9)
        eps = testbed.denoiser(x, inside) if not label else testbed.conditionals["conditional"](x, inside, *label)
        a, sigma = (rows_like(one, x) for one in (1 - inside.double(), process.sigma(inside, torch.float64)))
        return eps - (x - sigma * eps) / a

    return replace(testbed, denoiser=velocity, conditionals={"conditional": velocity}, prediction="velocity")


@pytest.mark.parametrize("process", ["edm", "flow"])
@pytest.mark.parametrize("sampler", [Euler(200), Heun(60), DPMSolverPP(60), DDIM(200), DDIM(200, eta=1.0)], ids=repr)
def test_samples_have_the_moments_of_the_exact_mixture(process: str, sampler: Sampler) -> None:
    x, exact = _points(process, sampler), _testbed("vp").judge.mixture  # type: ignore[attr-defined]
    real = exact.sample(torch.arange(20_000) % 2, torch.Generator().manual_seed(0))
    spread = real.std(dim=0)
    assert bool(((x.mean(dim=0) - real.mean(dim=0)).abs() < (4 / 2000**0.5 + 0.03) * spread).all())
    assert bool(((x.std(dim=0) - spread).abs() < (4 / 2000**0.5 + 0.03) * spread).all())


@pytest.mark.parametrize("process", ["edm", "flow"])
def test_classifier_free_guidance_reaches_the_wanted_class(process: str) -> None:
    x = _points(process, Heun(40), GUIDANCES["classifier_free"])
    testbed = _testbed("vp")
    assert float(testbed.seen(x).hits(torch.arange(2000) % 2).double().mean()) > 0.95


def test_times_of_the_processes_are_the_papers() -> None:
    edm, flow = EDMProcess(), FlowProcess(3.0)
    levels = edm.times(18)
    assert (float(levels[0]), float(levels[-1])) == (80.0, 0.0)
    by_hand = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    assert levels[:-1].tolist() == pytest.approx(by_hand)
    even = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(flow.times(4), 3 * even / (1 + 2 * even))
    for process in (edm, flow):
        t = process.times(10)[:-1]
        torch.testing.assert_close(process.fraction(t)[:1], torch.zeros(1, dtype=torch.float64))
        assert bool((process.fraction(t).diff() > 0).all())
        torch.testing.assert_close(process.position(t), 1000 * (1 - process.fraction(t)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FlowProcess(0.0), "`shift` must be > 0, got 0.0"),
        (lambda: EDMProcess(1.0, 0.5), "`sigma_min` and `sigma_max` must be 0 < min < max, got 1.0, 0.5"),
        (lambda: EDMProcess(rho=0.5), "`rho` must be >= 1, got 0.5"),
        (lambda: replace(_testbed("vp"), prediction="x"), "`prediction` must be one of noise, .*, got 'x'"),
        (
            lambda: sample(_regular(_testbed("flow")), labels=[0], sampler=PredictorCorrector(10)),
            "`sampler` needs some signal at the first time",
        ),
    ],
)
def test_wrong_input_gets_one_line(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(GuideGymError, match=said):
        make()


def test_heun_is_the_paper_s_algorithm() -> None:
    """Karras et al. 2022, Algorithm 1, as a plain loop over the network's clean estimates."""
    testbed, steps = _converted(_testbed("edm"), "denoised"), 18
    process = testbed.process
    assert isinstance(process, EDMProcess)
    t = process.times(steps)
    x = process.sigma_max * trajectory_noise(
        row_seeds(5, len(LABELS)), torch.zeros_like(LABELS), testbed.event_shape, stream=INITIAL, dtype=torch.float64
    )
    for now, then in itertools.pairwise(t):
        slope = (x - testbed.denoiser(x, now.expand(len(x)))) / now
        after = x + (then - now) * slope
        if then > 0:
            there = (after - testbed.denoiser(after, then.expand(len(x)))) / then
            after = x + (then - now) * (slope + there) / 2
        x = after
    mine = sample(testbed, labels=LABELS, seed=5, sampler=Heun(steps))
    torch.testing.assert_close(mine.x, x, rtol=1e-10, atol=1e-10)
    assert mine.cost.denoiser == (2 * steps - 1) * len(LABELS)
