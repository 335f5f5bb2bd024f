"""With exact scores and an exact guide, guided sampling must sample the exact distributions."""

import pytest
import torch

from guidegym import DDIM, DDPM, Constant, Guidance, Likelihood, Testbed, sample
from guidegym.testbeds.gaussians import MEANS, SHARES

NUM = 20_000
"""Rows of a batch: half of them of each class where the class is asked for."""


def _nearest_modes(x: torch.Tensor) -> torch.Tensor:
    """Return the share of points nearest to each of the six mode centres."""
    centres = torch.tensor(MEANS, dtype=x.dtype).reshape(-1, 2)
    nearest = torch.cdist(x, centres).argmin(dim=1)
    return torch.bincount(nearest, minlength=len(centres)).double() / len(x)


def _check_moments(x: torch.Tensor, reference: torch.Tensor, *, slack: float) -> None:
    """Compare mean, covariance and mode shares of two sample sets within 5 standard errors plus ``slack``."""
    error = (x.var(dim=0) / len(x) + reference.var(dim=0) / len(reference)).sqrt()
    assert bool(((x.mean(dim=0) - reference.mean(dim=0)).abs() < 5 * error + slack).all())
    spread = reference.var(dim=0)
    scale = torch.outer(spread, spread).sqrt() * (2 / len(x) + 2 / len(reference)) ** 0.5
    assert bool(((x.T.cov() - reference.T.cov()).abs() < 5 * scale + slack).all())
    shares = _nearest_modes(reference)
    tolerance = 5 * (shares * (1 - shares) * (1 / len(x) + 1 / len(reference))).sqrt() + slack
    assert bool(((_nearest_modes(x) - shares).abs() < tolerance).all())


def _real(testbed: Testbed, labels: torch.Tensor) -> torch.Tensor:
    mixture = testbed.judge.mixture  # type: ignore[attr-defined]
    drawn: torch.Tensor = mixture.sample(labels, torch.Generator().manual_seed(99))
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(250), DDIM(250, eta=1.0), DDPM(500)], ids=repr)
def test_weight_one_samples_the_class_conditional(exact: Testbed, sampler: DDIM | DDPM) -> None:
    labels = torch.arange(NUM) % 2
    guidance = Guidance(Likelihood("exact"), Constant(1.0))
    got = sample(exact, guidance, labels=labels, seed=1, sampler=sampler, batch_size=NUM)
    for label in (0, 1):
        _check_moments(got.x[labels == label], _real(exact, torch.full((NUM,), label)), slack=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(250), DDPM(500)], ids=repr)
def test_weight_zero_samples_the_marginal(exact: Testbed, sampler: DDIM | DDPM) -> None:
    labels = torch.zeros(NUM, dtype=torch.long)
    guidance = Guidance(Likelihood("exact"), Constant(0.0))
    got = sample(exact, guidance, labels=labels, seed=2, sampler=sampler, batch_size=NUM)
    _check_moments(got.x, _real(exact, torch.arange(NUM) % 2), slack=0.01)


def test_the_check_itself_notices_a_wrong_mode_share(exact: Testbed) -> None:
    shares = torch.tensor(SHARES[0])
    assert float(shares.sum()) == pytest.approx(1.0)
    wrong = _real(exact, torch.zeros(NUM, dtype=torch.long))
    wrong[: NUM // 20] = wrong[NUM // 2]
    with pytest.raises(AssertionError):
        _check_moments(wrong, _real(exact, torch.zeros(NUM, dtype=torch.long)), slack=0.01)


def test_zero_weight_equals_unguided_sampling(exact: Testbed) -> None:
    labels = [0, 1, 1, 0]
    unguided = sample(exact, None, labels=labels, sampler=DDIM(20))
    zero = sample(exact, Guidance(Likelihood("exact"), Constant(0.0)), labels=labels, sampler=DDIM(20))
    assert torch.equal(zero.x, unguided.x)
    assert zero.cost == unguided.cost
    assert zero.cost.guide_forward == 0


@pytest.mark.slow
def test_ddim_converges_at_first_order(exact: Testbed) -> None:
    labels = torch.arange(200) % 2
    guidance = Guidance(Likelihood("exact"), Constant(1.0))

    def run(num_steps: int) -> torch.Tensor:
        return sample(exact, guidance, labels=labels, seed=3, sampler=DDIM(num_steps), batch_size=200).x

    finest = run(600)
    steps = torch.tensor([25.0, 50.0, 100.0, 200.0], dtype=torch.float64)
    errors = torch.stack([(run(int(n)) - finest).norm(dim=1).median() for n in steps])
    assert bool((errors.diff() < 0).all())
    # The reference has an error of its own, of 1/600: fit the order against 1/n - 1/600.
    spacing = (1 / steps - 1 / 600).log()
    order = ((spacing - spacing.mean()) * (errors.log() - errors.log().mean())).sum() / (
        (spacing - spacing.mean()) ** 2
    ).sum()
    assert 0.8 < float(order) < 1.25
