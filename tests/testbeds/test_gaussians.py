import torch

from guidegym import Testbed, VPProcess
from guidegym.testbeds.gaussians import GaussianMixture

T = torch.tensor([-1.0, 0.0, 100.0, 500.0, 999.0], dtype=torch.float64)


def _mixture(testbed: Testbed) -> GaussianMixture:
    mixture: GaussianMixture = testbed.judge.mixture  # type: ignore[attr-defined]
    return mixture


def test_the_score_is_the_gradient_of_the_log_density(exact: Testbed) -> None:
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    mixture = _mixture(exact)
    (wanted,) = torch.autograd.grad(mixture.logits(x, T).logsumexp(dim=1).sum(), x)
    torch.testing.assert_close(mixture.score(x.detach(), T), wanted, rtol=1e-10, atol=1e-10)


def test_the_density_integrates_to_one_at_every_noise_level(exact: Testbed) -> None:
    axis = torch.linspace(-8, 8, 400, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for t in T:
        mass = _mixture(exact).logits(grid, t.expand(len(grid))).logsumexp(dim=1).exp().sum() * (16 / 399) ** 2
        assert abs(float(mass) - 1) < 1e-6


def test_noising_samples_gives_the_density_at_that_level(exact: Testbed) -> None:
    mixture, generator = _mixture(exact), torch.Generator().manual_seed(1)
    x_0 = mixture.sample(torch.arange(40_000) % 2, generator)
    t = torch.full((40_000,), 300)
    assert isinstance(mixture.process, VPProcess)
    x_t = mixture.process.q_sample(x_0, t, noise=torch.randn(40_000, 2, dtype=torch.float64, generator=generator))
    # Stein's identity: the mean of score(x) x^T under the density is minus the identity.
    score = mixture.score(x_t, t.double())
    torch.testing.assert_close(score.T @ x_t / 40_000, -torch.eye(2, dtype=torch.float64), rtol=0, atol=0.05)
    assert float(score.mean(dim=0).abs().max()) < 0.05


def test_references_are_the_moments_of_the_classes(exact: Testbed) -> None:
    mixture, references = _mixture(exact), exact.references
    for label in range(2):
        shares, means = mixture.shares[label], mixture.means[label]
        mean = shares @ means
        covariance = (shares * mixture.spreads[label] ** 2).sum() * torch.eye(2, dtype=torch.float64)
        covariance = covariance + (means - mean).T @ (shares[:, None] * (means - mean))
        torch.testing.assert_close(references.mean[label], mean, rtol=0, atol=0.05)
        torch.testing.assert_close(references.covariance[label], covariance, rtol=0, atol=0.06)
    assert references.features.shape == (2, 1000, 2)
