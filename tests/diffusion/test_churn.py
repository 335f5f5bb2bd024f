"""Heun's method with churn is the stochastic sampler of EDM, guided at the noise levels where it evaluates the networks."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guidegym import (
    AtClean,
    Constant,
    EDMProcess,
    Engine,
    Guidance,
    GuideGymError,
    Heun,
    Likelihood,
    Testbed,
    load_testbed,
    row_seeds,
    sample,
)
from guidegym.core.observation import FEATURES, observe
from guidegym.core.state import fork, join, load_state, save_state
from guidegym.diffusion import INITIAL, REVERSE, make_sampler, sampler_flags, trajectory_noise
from guidegym.testbeds.gaussians import load_gaussians

PROCESS = EDMProcess(0.01, 80.0)
LABELS = torch.arange(40) % 2
IMAGENET = Heun(18, churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003)
"""The paper's settings for ImageNet, in fewer steps."""


@pytest.fixture(scope="module")
def testbed() -> Testbed:
    return load_gaussians(torch.device("cpu"), dtype=torch.float64, process=PROCESS)


def _noise(step: int, stream: int) -> Tensor:
    rows = len(LABELS)
    return trajectory_noise(row_seeds(5, rows), torch.full((rows,), step), (2,), stream=stream, dtype=torch.float64)


def _gradient(testbed: Testbed, x: Tensor, sigma: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_(True)
    log_p = testbed.classifiers["exact"](leaf, sigma.expand(len(x))).log_softmax(dim=1)
    (gradient,) = torch.autograd.grad(log_p.gather(1, LABELS[:, None]).sum(), leaf)
    return gradient


def _paper(testbed: Testbed, heun: Heun, weight: float) -> Tensor:
    """Karras et al. 2022, Algorithm 2, as a plain loop; the guide is part of the network D."""

    def clean(x: Tensor, sigma: Tensor) -> Tensor:
        told = x - sigma * testbed.denoiser(x, sigma.expand(len(x)))
        return told + weight * sigma**2 * _gradient(testbed, x, sigma) if weight else told

    t = PROCESS.times(heun.num_steps)
    x = PROCESS.sigma_max * _noise(0, INITIAL)
    highest = float("inf") if heun.churn_max is None else heun.churn_max
    for number, (now, then) in enumerate(itertools.pairwise(t)):
        inside = heun.churn_min <= now <= highest
        gamma = min(heun.churn / heun.num_steps, 2**0.5 - 1) if inside else 0.0
        raised = now + gamma * now
        x_hat = x + (raised**2 - now**2).sqrt() * heun.churn_noise * _noise(number, REVERSE)
        slope = (x_hat - clean(x_hat, raised)) / raised
        x = x_hat + (then - raised) * slope
        if then > 0:
            x = x_hat + (then - raised) * (slope + (x - clean(x, then)) / then) / 2
    return x


@pytest.mark.parametrize("weight", [0.0, 1.5])
@pytest.mark.parametrize("heun", [IMAGENET, Heun(18, churn=2.0), Heun(7, churn=80.0, churn_max=80.0)], ids=repr)
def test_it_is_the_paper_s_algorithm(heun: Heun, weight: float, testbed: Testbed) -> None:
    guidance = Guidance(Likelihood("exact"), Constant(weight))
    mine = sample(testbed, guidance, labels=LABELS, seed=5, sampler=heun)
    torch.testing.assert_close(mine.x, _paper(testbed, heun, weight), rtol=1e-10, atol=1e-10)
    assert mine.cost.denoiser == (2 * heun.num_steps - 1) * len(LABELS)
    assert mine.cost.guide_forward == (mine.cost.denoiser if weight else 0)


def test_without_churn_it_is_the_deterministic_method(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Heun(9, churn_min=0.3, churn_max=2.0, churn_noise=3.0)
    assert not quiet.is_stochastic
    wanted = sample(testbed, labels=LABELS, sampler=Heun(9)).x
    monkeypatch.setattr(Heun, "raised", None)
    assert torch.equal(sample(testbed, labels=LABELS, sampler=quiet).x, wanted)


def test_samples_have_the_moments_of_the_exact_mixture(testbed: Testbed) -> None:
    sampler = Heun(60, churn=20.0, churn_min=0.05, churn_max=50.0)
    x = sample(testbed, labels=torch.arange(2000) % 2, sampler=sampler, batch_size=2000).x
    real = testbed.judge.mixture.sample(torch.arange(20_000) % 2, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    spread = real.std(dim=0)
    assert bool(((x.mean(dim=0) - real.mean(dim=0)).abs() < (4 / 2000**0.5 + 0.03) * spread).all())
    assert bool(((x.std(dim=0) - spread).abs() < (4 / 2000**0.5 + 0.03) * spread).all())


@pytest.mark.parametrize(
    "guide", [Likelihood("exact"), AtClean(Likelihood("exact"))], ids=lambda one: type(one).__name__
)
def test_rows_are_the_same_alone_forked_saved_and_beside_unguided_ones(
    guide: Likelihood | AtClean, testbed: Testbed, tmp_path: Path
) -> None:
    engine = Engine(testbed, IMAGENET, guide)
    labels, seeds, weight = LABELS[:4], row_seeds(1, 4), torch.tensor([0.0, 1.0, 0.0, 2.0], dtype=torch.float64)
    state = engine.start(labels, seeds)
    for number in range(18):
        state = engine.step(state, weight, torch.tensor([1, 3]))
        if number == 6:
            save_state(state, tmp_path / "state.safetensors")
            state = load_state(tmp_path / "state.safetensors")
            state = join([fork(state, torch.tensor([0, 1])), fork(state, torch.tensor([2, 3]))])
    for row in range(4):
        one = slice(row, row + 1)
        alone = engine.start(labels[one], seeds[one])
        for _ in range(18):
            alone = engine.step(alone, weight[one] if weight[row] else None)
        torch.testing.assert_close(state.x[row], alone.x[0], rtol=1e-9, atol=1e-9)
        assert torch.equal(state.evaluations[row], alone.evaluations[0])


def test_a_prediction_is_observed_and_shared_at_the_raised_noise_level(testbed: Testbed) -> None:
    engine = Engine(testbed, IMAGENET, Likelihood("exact"))
    state = engine.start(LABELS, row_seeds(5, len(LABELS)))
    for _ in range(8):
        state = engine.step(state, None)
    told = engine.predict(state, clean=True)
    assert told.raised is not None and told.gradient is not None
    torch.testing.assert_close(told.raised.t, engine.at(state)[0] * 2**0.5)
    norm = observe(engine, state, told)[:, FEATURES.index("gradient_norm")]
    torch.testing.assert_close(norm.double(), (told.raised.t * told.gradient.norm(dim=1)).log1p(), rtol=1e-5, atol=1e-6)
    rows = torch.tensor([3, 3, 17])
    weight = torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64)
    shared = engine.advance(fork(state, rows), told.of_rows(rows), weight)
    torch.testing.assert_close(shared.x, engine.step(fork(state, rows), weight).x)


def test_its_settings_come_back_from_words() -> None:
    assert sampler_flags(IMAGENET) == (
        "--sampler heun --steps 18 --sampler-kwargs churn=40.0 churn_min=0.05 churn_max=50.0 churn_noise=1.003"
    )
    further = {"churn": 40, "churn_min": 0.05, "churn_max": 50, "churn_noise": 1.003}
    assert make_sampler({"kind": "heun", **further}, 18) == IMAGENET
    assert repr(Heun(9)) == "Heun(num_steps=9, highest=80.0)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Heun(churn=-1.0), "`churn` must be >= 0, got -1"),
        (lambda: Heun(churn_min=-0.1), "`churn_min` must be >= 0, got -0.1"),
        (lambda: Heun(churn_min=2.0, churn_max=1.0), "`churn_max` must be >= 2, got 1"),
        (lambda: Heun(churn_noise=0.0), "`churn_noise` must be > 0, got 0"),
        (
            lambda: sample(load_testbed("gaussians"), labels=[0], sampler=Heun(5, churn=1.0)),
            "`churn` must be 0 under VPProcess: only a process whose times are noise levels",
        ),
        (lambda: replace(IMAGENET, churn=float("nan")), "`churn` must be a finite number, got nan"),
    ],
)
def test_wrong_input_gets_one_line(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(GuideGymError, match=said):
        make()
