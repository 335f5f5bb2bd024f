"""Losses against closed forms (exact classifiers of the Gaussian mixture), finite differences and plain loops."""

import math

import pytest
import torch
from torch import Tensor, nn

from guidegym import VPProcess
from guidegym.networks import MaxMahalanobisClassifier, TimeDependentClassifier
from guidegym.testbeds.gaussians import GaussianMixture
from guidegym.training.adversarial import adversarial_cross_entropy, noisy_adversarial_cross_entropy
from guidegym.training.cross_entropy import noisy_cross_entropy
from guidegym.training.denoising import conditional_noise_prediction
from guidegym.training.dlsm import denoising_likelihood_score_matching
from guidegym.training.energy_based import JointEnergyLoss, TimedJointEnergyLoss, check_energies
from guidegym.training.jacobian import jacobian_regularised
from guidegym.training.langevin import Langevin
from guidegym.training.loss import DivergedError, Loss, labelled_cross_entropy, noised
from guidegym.training.mixtures import GenerativeMaxMahalanobis, center_regression, estimate_variance
from guidegym.training.replay import ReplayBuffer
from guidegym.training.self_calibration import calibration_terms, self_calibrated

LINEAR = VPProcess("linear")
MIXTURE = GaussianMixture(LINEAR, dtype=torch.float64, device=torch.device("cpu"))


class _Exact(nn.Module):
    """The exact classifier of the mixture: its logits are log-densities."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return MIXTURE.logits(x, t)


class _Smooth(nn.Module):
    """A small smooth classifier in float64, whose second derivatives can be checked by differences."""

    def __init__(self, dim: int = 2, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(dim + 1, 8), nn.Tanh(), nn.Linear(8, classes)).double()

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        at = torch.zeros(len(x), 1).to(x) if t is None else t[:, None].to(x) / 1000
        logits: Tensor = self.layers(torch.cat([x, at], dim=1))
        return logits


def _points(num: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(num) % 2
    return MIXTURE.sample(labels, torch.Generator().manual_seed(1)), labels


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values)))


def test_the_calibration_loss_of_the_exact_classifier_is_the_closed_form_constant() -> None:
    # E |s|^2 sigma^2 + |eps|^2 - 2 ... : for the true score the loss is (d - sigma^2 E |s|^2) / 2, and no network is below it.
    x, _ = _points(20_000)
    rows = noised(LINEAR, x, torch.Generator().manual_seed(0))
    rows.x_t.requires_grad_(True)
    terms = calibration_terms(MIXTURE.logits(rows.x_t, rows.t.double()), rows).detach()
    score = MIXTURE.score(rows.x_t.detach(), rows.t.double())
    constant = (2 - (rows.sigma * score).square().sum(dim=1)) / 2
    assert abs(float((terms - constant).mean())) < 4 * _standard_error(terms - constant)
    assert _standard_error(terms - constant) < 0.01


def test_another_classifier_has_a_larger_calibration_loss_by_the_error_of_its_score() -> None:
    x, _ = _points(20_000)
    wrong = GaussianMixture(LINEAR, dtype=torch.float64, device=torch.device("cpu"), widen=1.5)
    rows = noised(LINEAR, x, torch.Generator().manual_seed(0))
    rows.x_t.requires_grad_(True)
    own, exact = (calibration_terms(one.logits(rows.x_t, rows.t.double()), rows).detach() for one in (wrong, MIXTURE))
    at, t = rows.x_t.detach(), rows.t.double()
    excess = (rows.sigma * (wrong.score(at, t) - MIXTURE.score(at, t))).square().sum(dim=1) / 2
    assert float(excess.mean()) > 0.005
    difference = own - exact - excess
    assert abs(float(difference.mean())) < 4 * _standard_error(difference)


def test_likelihood_score_matching_of_exact_posterior_and_score_has_no_excess() -> None:
    x, labels = _points(20_000)
    losses = []
    for seed in range(3):
        loss = denoising_likelihood_score_matching(LINEAR, MIXTURE.noise)
        plain = noisy_cross_entropy(LINEAR)
        generators = [torch.Generator().manual_seed(seed) for _ in range(3)]
        matched = float(loss(_Exact(), x, labels, generators[0]).detach())
        matched -= float(plain(_Exact(), x, labels, generators[1]))
        rows = noised(LINEAR, x, generators[2])
        conditional = -MIXTURE.conditional_noise(rows.x_t, rows.t.double(), labels)  # sigma times the true score
        constant = (rows.noise + conditional).square().sum(dim=1) / 2
        losses.append(matched - float(constant.mean()))
    # The same rows, noise and timesteps on both sides: equal to rounding, not only on average.
    assert max(map(abs, losses)) < 1e-9


def test_the_gradient_of_the_calibration_loss_agrees_with_finite_differences() -> None:
    network, loss = _Smooth(), self_calibrated(LINEAR, weight=0.7)
    x, labels = _points(12)

    def value() -> Tensor:
        return loss(network, x, labels, torch.Generator().manual_seed(3))

    value().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        flat, slope = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(0, len(flat), 5):
            kept, step = float(flat[index]), 1e-5
            flat[index] = kept + step
            above = float(value().detach())
            flat[index] = kept - step
            below = float(value().detach())
            flat[index] = kept
            assert float(slope[index]) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-7)


def test_the_jacobian_penalty_is_the_squared_norm_on_average() -> None:
    network, (x, labels) = _Smooth(), _points(64)
    penalty = []
    for seed in range(300):
        with_it = jacobian_regularised(LINEAR, weight=2.0)(network, x, labels, torch.Generator().manual_seed(seed))
        plain = noisy_cross_entropy(LINEAR)(network, x, labels, torch.Generator().manual_seed(seed))
        rows = noised(LINEAR, x, torch.Generator().manual_seed(seed))
        jacobian = torch.func.vmap(torch.func.jacrev(lambda one, at: network(one[None], at[None])[0]))(
            rows.x_t, rows.t.double()
        )
        penalty.append(float((with_it - plain - jacobian.square().sum(dim=(1, 2)).mean()).detach()))
    errors = torch.tensor(penalty)
    assert abs(float(errors.mean())) < 4 * _standard_error(errors)


def test_rows_of_unknown_class_count_for_the_calibration_and_not_for_the_classes() -> None:
    network, (x, labels) = _Smooth(), _points(40)
    hidden = labels.clone()
    hidden[20:] = -1
    seeds = [torch.Generator().manual_seed(5) for _ in range(4)]
    both = float(self_calibrated(LINEAR, weight=0.3)(network, x, hidden, seeds[0]).detach())
    rows = noised(LINEAR, x, seeds[1])
    logits = network(rows.x_t, rows.t.double())
    known = -logits[:20].log_softmax(dim=1).gather(1, labels[:20, None]).mean()
    assert float(labelled_cross_entropy(logits, hidden).detach()) == pytest.approx(float(known.detach()))
    rows = noised(LINEAR, x, seeds[2])
    rows.x_t.requires_grad_(True)
    calibration = calibration_terms(network(rows.x_t, rows.t.double()), rows).mean()
    assert both == pytest.approx(float((known + 0.3 * calibration).detach()))


def test_cross_entropy_keeps_its_gradient_where_the_class_is_impossible() -> None:
    logits = torch.tensor([[0.0, 200.0]], requires_grad=True)
    labelled_cross_entropy(logits, torch.tensor([0])).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 1.0]]))


def test_adversarial_losses_are_larger_than_plain_ones_and_zero_radius_is_plain() -> None:
    network, (x, labels) = _Smooth(), _points(60)
    x = x / 4  # inside the range of images
    plain = float(labelled_cross_entropy(network(x), labels).detach())
    attacked = adversarial_cross_entropy(radius=0.4, num_steps=5)(network, x, labels, torch.Generator().manual_seed(0))
    none = adversarial_cross_entropy(radius=0.0, num_steps=5)(network, x, labels, torch.Generator().manual_seed(0))
    assert float(attacked.detach()) > plain + 0.01
    assert float(none.detach()) == pytest.approx(plain)
    noisy = float(noisy_cross_entropy(LINEAR)(network, x, labels, torch.Generator().manual_seed(0)).detach())
    for norm in ("l2", "linf"):
        loss = noisy_adversarial_cross_entropy(LINEAR, radius=0.4, norm=norm)
        assert float(loss(network, x, labels, torch.Generator().manual_seed(0)).detach()) > noisy + 1e-3


def test_a_dropped_label_and_an_unknown_one_are_both_any_class() -> None:
    asked: list[Tensor] = []

    class Network(nn.Module):
        def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
            asked.append(label)
            return x

    labels = torch.arange(1000) % 3 - 1
    conditional_noise_prediction(LINEAR, dropout=0.3)(
        Network(), torch.zeros(1000, 2), labels, torch.Generator().manual_seed(0)
    )
    told = asked[0] >= 0
    assert torch.equal(asked[0][told], labels[told])
    assert float(told[labels >= 0].double().mean()) == pytest.approx(0.7, abs=0.05)
    assert not bool(told[labels < 0].any())


def _images(rows: int = 12) -> tuple[Tensor, Tensor]:
    return torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.arange(rows) % 10


def _buffer(**settings: bool) -> ReplayBuffer:
    return ReplayBuffer((1, 8, 8), size=30, restart=0.1, **settings)


def _mixture() -> MaxMahalanobisClassifier:
    torch.manual_seed(0)
    return MaxMahalanobisClassifier(channels=(8, 16), image_size=8, feature_dim=16)


class _Plane(nn.Module):
    """Logits whose density is a Gaussian of unit variance: Langevin chains of it have known moments."""

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        density = -x.flatten(1).square().sum(dim=1) / 2
        return torch.stack([density, density], dim=1)


def test_chains_sample_the_network_s_density() -> None:
    buffer = ReplayBuffer((2,), size=4000, restart=0.0)
    loss = JointEnergyLoss(buffer, chains=Langevin(200, 0.05, math.sqrt(2 * 0.05)))
    loss(_Plane(), torch.zeros(4000, 2), torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(0))
    variance = 1 / (1 - 0.05 / 2)  # of the unadjusted chain of this step
    torch.testing.assert_close(buffer.samples.mean(dim=0), torch.zeros(2), rtol=0, atol=0.08)
    torch.testing.assert_close(buffer.samples.var(dim=0), torch.full((2,), variance), rtol=0.1, atol=0)


class _Centres(nn.Module):
    """Logits of unit Gaussians about (-3, 0), (0, 0) and (3, 0)."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.tensor([[-3.0, 0.0], [0.0, 0.0], [3.0, 0.0]]))

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        return -(x[:, None] - self.centres).square().sum(dim=2) / 2


def test_chains_of_a_class_sample_the_density_of_that_class() -> None:
    buffer = ReplayBuffer((2,), size=3000, restart=0.0)
    loss = JointEnergyLoss(buffer, num_classes=3, chains=Langevin(200, 0.05, math.sqrt(2 * 0.05)))
    network = _Centres()
    loss(network, torch.zeros(3000, 2), torch.zeros(3000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert torch.bincount(buffer.tags).tolist() == pytest.approx([1000] * 3, abs=120)
    for label, centre in enumerate(network.centres.detach()):
        own = buffer.samples[buffer.tags == label]
        torch.testing.assert_close(own.mean(dim=0), centre, rtol=0, atol=0.12)
        torch.testing.assert_close(own.var(dim=0), torch.full((2,), 1 / (1 - 0.05 / 2)), rtol=0.15, atol=0)


@pytest.mark.parametrize("kind", ["jem", "gmmc"])
def test_chains_that_are_images_stay_within_their_bounds(kind: str) -> None:
    made = JointEnergyLoss if kind == "jem" else GenerativeMaxMahalanobis
    bounded, free = (
        made(_buffer(), num_classes=10, chains=Langevin(5, step_size=50.0, clip=clip)) for clip in (1.0, None)
    )
    for loss in (bounded, free):
        loss(_mixture(), *_images(), torch.Generator().manual_seed(0))
    assert float(bounded.buffer.samples.abs().max()) <= 1
    assert float(free.buffer.samples.abs().max()) > 1


def test_a_buffer_goes_on_where_chains_stood_and_restarts_a_share() -> None:
    buffer = ReplayBuffer((2,), size=1000, restart=0.2)
    generator = torch.Generator().manual_seed(0)
    slots, chains, tags = buffer.draw(torch.full((600,), 7), generator)
    assert float(chains.abs().max()) <= 1
    assert len(slots.unique()) == 600
    buffer.put(slots, torch.full((600, 2), 5.0), tags)
    slots, chains, tags = buffer.draw(torch.full((1000,), 3), generator)
    kept = chains[:, 0] == 5.0
    assert float(kept.double().mean()) == pytest.approx(0.6 * 0.8, abs=0.05)
    assert bool((tags[kept] == 7).all())
    assert bool((tags[~kept] == 3).all())


FEW = Langevin(3)
EBM: dict[str, tuple[type[nn.Module] | None, Loss]] = {
    "jem": (None, JointEnergyLoss(_buffer(), chains=FEW)),
    "timed_jem": (
        TimeDependentClassifier,
        TimedJointEnergyLoss(VPProcess("cosine"), _buffer(gaussian=True), chains=FEW),
    ),
    "staged": (MaxMahalanobisClassifier, GenerativeMaxMahalanobis(_buffer(), num_classes=10, chains=FEW)),
    "noise-injected": (
        MaxMahalanobisClassifier,
        GenerativeMaxMahalanobis(_buffer(), num_classes=10, chains=FEW, targets="noise-injected"),
    ),
}


@pytest.mark.parametrize("name", EBM)
def test_energy_based_losses_train_and_move_their_chains(name: str) -> None:
    from guidegym.networks import OffTheShelfClassifier

    kind, loss = EBM[name]
    torch.manual_seed(0)
    networks: dict[object, nn.Module] = {
        None: OffTheShelfClassifier(channels=(8, 16), image_size=8),
        TimeDependentClassifier: TimeDependentClassifier(channels=(8, 16)),
        MaxMahalanobisClassifier: _mixture(),
    }
    network, (x, labels) = networks[kind], _images()
    assert isinstance(loss, JointEnergyLoss | TimedJointEnergyLoss | GenerativeMaxMahalanobis)
    before = loss.buffer.samples.clone()
    value = loss(network, x, labels, torch.Generator().manual_seed(0))
    assert bool(value.isfinite())
    assert not torch.equal(before, loss.buffer.samples)
    value.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert not loss.buffer.samples.requires_grad


def test_energies_that_run_away_stop_the_training() -> None:
    healthy = torch.tensor([1.0, 2.0])
    check_energies(healthy, -healthy)
    for wrong in (torch.tensor([math.nan, 1.0]), torch.tensor([1e9, 1.0]), torch.tensor([math.inf, 1.0])):
        with pytest.raises(DivergedError, match="the energies diverged: mean"):
            check_energies(healthy, wrong)


def test_center_regression_and_the_variance_are_plain_sums() -> None:
    network, (x, labels) = _mixture(), _images(20)
    features = network.features(x).detach()
    squared = sum(float((features[row] - network.means[labels[row]]).square().sum()) for row in range(20))
    loss = center_regression()(network, x, labels, torch.Generator())
    assert float(loss.detach()) == pytest.approx(squared / 2 / 20, rel=1e-5)
    assert estimate_variance(network, x, labels, chunk=7) == pytest.approx(squared / (20 * 16), rel=1e-5)
    assert float(network.variance) == pytest.approx(squared / (20 * 16), rel=1e-5)


def test_joint_training_begins_discriminative_and_becomes_generative() -> None:
    network, (x, labels) = _mixture(), _images()
    joint = GenerativeMaxMahalanobis(_buffer(), num_classes=10, chains=FEW, pretrain=4)
    plain = float(center_regression()(network, x, labels, torch.Generator()).detach())
    values = [float(joint(network, x, labels, torch.Generator().manual_seed(step)).detach()) for step in range(8)]
    assert values[:5] == pytest.approx([plain] * 5, rel=1e-5)
    assert values[5] < plain
    assert [joint._generative_share() for _ in range(2)] == [1.0, 1.0]
