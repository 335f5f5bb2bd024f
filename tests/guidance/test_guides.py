"""Guides in closed form on gaussians, and each guide once more as a plain loop over rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from guide_inputs import T, ask, class_score, mixture_of, points

from guidegym import (
    Accumulated,
    AtClean,
    ClassEnergy,
    ClassifierFree,
    ConditionalDenoiser,
    EnergyDivergence,
    EntropyScaled,
    GuideGymError,
    JointEnergy,
    Likelihood,
    LookAhead,
    Momentum,
    Normalised,
    Testbed,
)
from guidegym.guidance import DENOISER, Guide, GuideInput
from guidegym.registry import registered

SOFT = torch.tensor([[0.3, 0.7], [0.5, 0.5], [1.0, 0.0], [0.9, 0.1]], dtype=torch.float64)
EXAMPLES: dict[str, Guide] = {
    "likelihood": Likelihood("exact"),
    "class_energy": ClassEnergy("exact"),
    "joint_energy": JointEnergy("exact", marginal=0.4),
    "energy_divergence": EnergyDivergence("exact", weight=0.3),
    "classifier_free": ClassifierFree(),
    "look_ahead": LookAhead(ClassEnergy("exact"), num_steps=3, size=0.2),
    "accumulated": Accumulated(Likelihood("exact"), num_steps=3, size=0.2),
    "at_clean": AtClean(Likelihood("exact")),
    "entropy_scaled": EntropyScaled(Likelihood("exact"), most=5.0),
    "normalised": Normalised(ClassEnergy("exact")),
    "momentum": Momentum(Likelihood("exact"), decay=0.7),
}


def _onehot(label: int) -> torch.Tensor:
    return torch.eye(2, dtype=torch.float64)[[label] * 4]


def test_there_is_an_example_of_every_guide() -> None:
    assert EXAMPLES.keys() == registered("guide").keys()


@pytest.mark.parametrize("label", [0, 1])
def test_class_energy_is_the_closed_form_score_of_the_class(exact: Testbed, label: int) -> None:
    got = ClassEnergy("exact").gradient(ask(exact, points(), T, _onehot(label)))
    wanted = class_score(mixture_of(exact), points(), T, label)
    torch.testing.assert_close(got.gradient, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("marginal", [0.0, 0.3, 1.0])
def test_joint_energy_is_class_score_less_a_share_of_the_marginal_score(
    exact: Testbed, label: int, marginal: float
) -> None:
    inputs = ask(exact, points(), T, _onehot(label))
    got = JointEnergy("exact", marginal=marginal).gradient(inputs).gradient
    mixture = mixture_of(exact)
    wanted = class_score(mixture, points(), T, label) - marginal * mixture.score(points(), T.double())
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    ends = {0.0: ClassEnergy("exact"), 1.0: Likelihood("exact")}
    if marginal in ends:
        torch.testing.assert_close(ends[marginal].gradient(inputs).gradient, wanted, rtol=1e-8, atol=1e-8)


def test_likelihood_of_a_soft_target_is_minus_the_gradient_of_the_divergence(exact: Testbed) -> None:
    x = points().requires_grad_(True)
    log_p = exact.classifier("exact")(x, T.double()).log_softmax(dim=1)
    divergence = (torch.xlogy(SOFT, SOFT) - SOFT * log_p).sum()
    (wanted,) = torch.autograd.grad(-divergence, x)
    got = Likelihood("exact").gradient(ask(exact, x.detach(), T, SOFT)).gradient
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("label", [0, 1])
def test_energy_divergence_pulls_to_the_class_energy_from_both_sides_of_its_kink(exact: Testbed, label: int) -> None:
    mixture, x, weight = mixture_of(exact), points(32, seed=1), 0.7
    t = torch.full((32,), 300)
    energy = -mixture.logits(x, t.double()).logsumexp(dim=1)
    above = energy > exact.class_energies["exact"][label]
    assert 0 < int(above.sum()) < 32  # both sides are tried
    side = torch.where(above, 1.0, -1.0).double()[:, None]
    # E = -log p: above the kink the divergence is E - E*, and its descent goes up the density.
    wanted = class_score(mixture, x, t, label) + weight * side * mixture.score(x, t.double())
    target = torch.eye(2, dtype=torch.float64)[[label] * 32]
    got = EnergyDivergence("exact", weight=weight).gradient(ask(exact, x, t, target)).gradient
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("label", [0, 1])
def test_classifier_free_is_the_likelihood_of_the_exact_posterior(exact: Testbed, label: int) -> None:
    inputs = ask(exact, points(), T, _onehot(label))
    wanted = Likelihood("exact").gradient(inputs).gradient
    got = ClassifierFree().gradient(inputs)
    torch.testing.assert_close(got.gradient, wanted, rtol=1e-8, atol=1e-8)
    assert got.cost.denoiser == 2
    told, _ = ConditionalDenoiser().predict(exact, points(), T, inputs.label)
    known = replace(inputs, base_model=ConditionalDenoiser(), predicted=told)
    again = ClassifierFree().gradient(known)
    torch.testing.assert_close(again.gradient, wanted, rtol=1e-8, atol=1e-8)
    assert again.cost.denoiser == 1


def _log_p(inputs: GuideInput, x: torch.Tensor, row: int) -> torch.Tensor:
    logits = inputs.networks.classifier("exact")(x[None], inputs.t[row : row + 1].double())[0]
    return logits - torch.log(torch.exp(logits).sum())


def _slope(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    leaf = x.detach().clone().requires_grad_(True)
    return torch.autograd.grad(function(leaf), leaf)[0]


def _plain(name: str, inputs: GuideInput, row: int) -> torch.Tensor:  # noqa: PLR0911 - one formula a guide
    """Each guide's formula once more, one row at a time."""
    x, s, t = inputs.x_t[row], inputs.target[row], inputs.t[row]
    classify = inputs.networks.classifier("exact")

    def logits(x: torch.Tensor) -> torch.Tensor:
        return classify(x[None], t[None].double())[0]

    def likelihood(x: torch.Tensor) -> torch.Tensor:
        return _slope(lambda at: (s * _log_p(inputs, at, row)).sum(), x)

    def energy(x: torch.Tensor) -> torch.Tensor:
        return _slope(lambda at: (s * logits(at)).sum(), x)

    def density(at: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.exp(logits(at)).sum())

    if name == "likelihood":
        return likelihood(x)
    if name == "class_energy":
        return energy(x)
    if name == "joint_energy":
        return energy(x) - 0.4 * _slope(density, x)
    if name == "energy_divergence":
        stars = inputs.networks.class_energies["exact"]
        pull = sum(s[i] * torch.sign(stars[i] + density(x)) for i in range(2))
        return energy(x) - 0.3 * pull * _slope(density, x)
    if name == "classifier_free":
        mixture, label = mixture_of(inputs.networks), int(inputs.label[row])
        return (class_score(mixture, x[None], t[None], label) - mixture.score(x[None], t[None].double()))[0]
    if name == "look_ahead":
        for _ in range(3):
            x = x + 0.2 * energy(x) / energy(x).norm()
        return energy(x)
    if name == "accumulated":
        total = likelihood(x)
        for _ in range(2):
            x = x + 0.2 * likelihood(x) / likelihood(x).norm()
            total = total + likelihood(x)
        return total
    if name == "at_clean":
        process = inputs.networks.process
        signal, sigma = (f(t[None], torch.float64)[0] for f in (process.alpha_bar, process.sigma))

        def clean(x: torch.Tensor) -> torch.Tensor:
            return (x - sigma * inputs.networks.unconditional()(x[None], t[None])[0]) / signal.sqrt()

        first = torch.zeros(1, dtype=torch.float64)
        return _slope(lambda at: (s * classify(clean(at)[None], first)[0].log_softmax(dim=0)).sum(), x)
    if name == "entropy_scaled":
        p = torch.exp(_log_p(inputs, x, row))
        entropy = -(p * torch.log(p)).sum()
        return likelihood(x) * min(float(torch.log(torch.tensor(2.0)) / entropy), 5.0)
    if name == "normalised":
        sigma = inputs.networks.process.sigma(t[None], torch.float64)[0]
        scaled: torch.Tensor = energy(x) / energy(x).norm() * 2**0.5 / sigma
        return scaled
    assert name == "momentum" and inputs.memory is not None
    return 0.7 * inputs.memory[row] + 0.3 * likelihood(x)


@pytest.mark.parametrize("name", EXAMPLES)
def test_guide_equals_a_plain_loop_over_rows_at_different_steps(exact: Testbed, name: str) -> None:
    inputs = ask(exact, points(seed=2), T, SOFT, label=torch.tensor([1, 0, 0, 1]), memory=points(seed=3))
    got = EXAMPLES[name].gradient(inputs).gradient
    wanted = torch.stack([_plain(name, inputs, row) for row in range(4)])
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_guide_is_independent_of_its_batch_and_leaves_no_graph(fashion: Testbed, name: str) -> None:
    guide = _for_fashion(EXAMPLES[name])
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    t, target = torch.tensor([10, 500, 900]), torch.eye(10)[[3, 7, 1]]
    with torch.no_grad():
        together = guide.gradient(ask(fashion, x, t, target))
    assert not together.gradient.requires_grad
    assert together.logits is None or not together.logits.requires_grad
    for row in range(3):
        one = slice(row, row + 1)
        alone = guide.gradient(ask(fashion, x[one], t[one], target[one]))
        scale = float(together.gradient[one].abs().max())
        torch.testing.assert_close(alone.gradient, together.gradient[one], rtol=1e-3, atol=2e-3 * scale)


def _for_fashion(guide: Guide) -> Guide:
    """The same guide with fashion's classifier."""
    if hasattr(guide, "guide"):
        return replace(guide, guide=_for_fashion(guide.guide))  # type: ignore[type-var]
    return guide if guide.classifier is None else replace(guide, classifier="time_dependent")  # type: ignore[type-var]


class _Sure:
    """A classifier that is sure beyond rounding: p = 1 for the first class."""

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.stack([300 + x.sum(dim=1), -300 - x.sum(dim=1)], dim=1)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("wanted", [0, 1])
def test_a_saturated_classifier_keeps_every_guide_finite_in_single_precision(name: str, wanted: int) -> None:
    from guidegym.testbeds.gaussians import load_gaussians

    plain = load_gaussians(torch.device("cpu"))
    testbed = replace(plain, classifiers={"exact": _Sure()})
    x = points().float()
    assert float(_Sure()(x, T.float()).softmax(dim=1)[:, 0].min()) == 1.0
    inputs = ask(testbed, x, T, torch.eye(2)[[wanted] * 4])
    got = EXAMPLES[name].gradient(inputs)
    assert bool(got.gradient.isfinite().all())


def test_entropy_scaling_is_between_one_and_its_bound(exact: Testbed) -> None:
    inputs = ask(exact, points(200, seed=5), torch.full((200,), 50), torch.eye(2, dtype=torch.float64)[[0] * 200])
    plain = Likelihood("exact").gradient(inputs).gradient
    scaled = EntropyScaled(Likelihood("exact"), most=4.0).gradient(inputs).gradient
    factor = (scaled / plain)[:, 0]
    assert 1 <= float(factor.min()) < 1.1
    assert float(factor.max()) == pytest.approx(4.0)


def test_without_the_jacobian_the_gradient_is_that_of_the_clean_classifier(exact: Testbed) -> None:
    x = points()
    got = AtClean(ClassEnergy("exact"), jacobian=False).gradient(ask(exact, x, T, _onehot(1)))
    process = exact.process
    sigma, signal = process.sigma(T, torch.float64)[:, None], process.alpha_bar(T, torch.float64)[:, None].sqrt()
    clean = (x - sigma * exact.denoiser(x, T.double())) / signal
    wanted = class_score(mixture_of(exact), clean, torch.zeros(4, dtype=torch.long), 1)
    torch.testing.assert_close(got.gradient, wanted, rtol=1e-8, atol=1e-8)
    assert (got.cost.denoiser, got.cost.denoiser_backward) == (1, 0)


def test_guides_compose(exact: Testbed) -> None:
    guide = Momentum(EntropyScaled(AtClean(LookAhead(ClassEnergy("exact"), num_steps=2))), decay=0.0)
    inputs = ask(exact, points(), T, SOFT)
    got = guide.gradient(inputs)
    inner = EntropyScaled(AtClean(LookAhead(ClassEnergy("exact"), num_steps=2))).gradient(inputs)
    torch.testing.assert_close(got.gradient, inner.gradient)
    assert got.cost.counts == (1, 3, 3, 1)
    assert guide.through_denoiser


def test_what_a_guide_does_not_allow() -> None:
    for wrong, message in (
        (lambda: ClassEnergy(""), "`classifier` must be the name"),
        (lambda: JointEnergy("exact", marginal=1.1), r"`marginal` must be in \[0, 1\], got 1.1"),
        (lambda: EnergyDivergence("exact", weight=-1.0), "`weight` must be >= 0"),
        (lambda: LookAhead(ClassEnergy("exact"), num_steps=0), "`num_steps` must be a whole number in 1..1000, got 0"),
        (lambda: Accumulated(ClassEnergy("exact"), size=-1.0), "`size` must be >= 0"),
        (lambda: EntropyScaled(ClassEnergy("exact"), most=0.5), "`most` must be >= 1"),
        (lambda: EntropyScaled(ClassifierFree()), "must have a classifier"),
        (lambda: Momentum(ClassEnergy("exact"), decay=1.0), r"`decay` must be in \[0, 1\), got 1.0"),
        (lambda: Momentum(Normalised(Momentum(ClassEnergy("exact")))), "one memory"),
    ):
        with pytest.raises(GuideGymError, match=message):
            wrong()


def test_a_testbed_without_what_a_guide_asks_is_refused(exact: Testbed) -> None:
    bare = replace(exact, class_energies={}, conditionals={})
    with pytest.raises(GuideGymError, match="does not know the class energies of 'exact'; known: none"):
        AtClean(EnergyDivergence("exact")).check(bare)
    with pytest.raises(GuideGymError, match="has no conditional denoiser"):
        ClassifierFree().check(bare)
    with pytest.raises(GuideGymError, match="has no classifier 'other'; it has exact"):
        Momentum(Likelihood("other")).check(bare)
    DENOISER.check(bare)
