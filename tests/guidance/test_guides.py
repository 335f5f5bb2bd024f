import pytest
import torch

from guidegym import ClassEnergy, GuideGymError, Likelihood, Testbed
from guidegym.guidance import GUIDES
from guidegym.testbeds.gaussians import GaussianMixture

T = torch.tensor([0, 200, 600, 999])


def _mixture(testbed: Testbed) -> GaussianMixture:
    mixture: GaussianMixture = testbed.judge.mixture  # type: ignore[attr-defined]
    return mixture


def _points() -> torch.Tensor:
    return torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _class_score(mixture: GaussianMixture, x: torch.Tensor, t: torch.Tensor, label: int) -> torch.Tensor:
    """The score of p_t(x | y) in closed form, one row at a time in plain loops."""
    rows = []
    for point, step in zip(x, t, strict=True):
        alpha_bar = mixture.process.alpha_bar(step[None], torch.float64)[0]
        density = torch.zeros((), dtype=torch.float64)
        slope = torch.zeros(2, dtype=torch.float64)
        for mean, spread, share in zip(
            mixture.means[label], mixture.spreads[label], mixture.shares[label], strict=True
        ):
            variance = alpha_bar * spread**2 + 1 - alpha_bar
            offset = point - alpha_bar.sqrt() * mean
            value = share * torch.exp(-(offset @ offset) / (2 * variance)) / (2 * torch.pi * variance)
            density += value
            slope += value * -offset / variance
        rows.append(slope / density)
    return torch.stack(rows)


@pytest.mark.parametrize("label", [0, 1])
def test_class_energy_is_the_closed_form_score_of_the_class(exact: Testbed, label: int) -> None:
    degree = torch.eye(2, dtype=torch.float64)[[label] * 4]
    x = _points()
    got = ClassEnergy("exact").gradient(exact.classifier("exact"), x, T, degree)
    torch.testing.assert_close(got.gradient, _class_score(_mixture(exact), x, T, label), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("label", [0, 1])
def test_likelihood_is_class_score_less_marginal_score(exact: Testbed, label: int) -> None:
    degree = torch.eye(2, dtype=torch.float64)[[label] * 4]
    x = _points()
    got = Likelihood("exact").gradient(exact.classifier("exact"), x, T, degree)
    wanted = _class_score(_mixture(exact), x, T, label) - _mixture(exact).score(x, T.double())
    torch.testing.assert_close(got.gradient, wanted, rtol=1e-8, atol=1e-8)


def test_likelihood_of_a_soft_degree_is_minus_the_gradient_of_the_divergence(exact: Testbed) -> None:
    degree = torch.tensor([[0.3, 0.7], [0.5, 0.5], [1.0, 0.0], [0.9, 0.1]], dtype=torch.float64)
    x = _points().requires_grad_(True)
    log_p = exact.classifier("exact")(x, T.double()).log_softmax(dim=1)
    divergence = (torch.xlogy(degree, degree) - degree * log_p).sum()
    (wanted,) = torch.autograd.grad(-divergence, x)
    got = Likelihood("exact").gradient(exact.classifier("exact"), x.detach(), T, degree)
    torch.testing.assert_close(got.gradient, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", GUIDES)
def test_a_guide_is_independent_of_its_batch_and_leaves_no_graph(fashion: Testbed, kind: str) -> None:
    guide = GUIDES[kind]("time_dependent")
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    t, degree = torch.tensor([10, 500, 900]), torch.eye(10)[[3, 7, 1]]
    with torch.no_grad():
        together = guide.gradient(fashion.classifier("time_dependent"), x, t, degree)
    assert not together.gradient.requires_grad
    assert not together.logits.requires_grad
    for row in range(3):
        one = slice(row, row + 1)
        alone = guide.gradient(fashion.classifier("time_dependent"), x[one], t[one], degree[one])
        torch.testing.assert_close(alone.gradient, together.gradient[one], rtol=1e-3, atol=1e-5)


def test_a_guide_needs_a_classifier() -> None:
    with pytest.raises(GuideGymError, match="`classifier` must be the name"):
        ClassEnergy("")
