"""Attacks: closed forms on linear models, a second implementation (foolbox), and what a training loop relies on."""

import math
from collections.abc import Callable

import foolbox
import pytest
import torch
from torch import Tensor, nn

from guidegym import load_testbed
from guidegym.attacks.carlini_wagner import carlini_wagner_l2
from guidegym.attacks.pgd import Norm, pgd, row_norms
from guidegym.errors import GuideGymError

NORMS: tuple[Norm, ...] = ("l2", "linf")


class _Timed(nn.Module):
    """A small smooth classifier of noisy inputs that remembers how many rows it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
        self.rows: list[int] = []

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        self.rows.append(len(x))
        logits: Tensor = self.layers(x)
        return logits if t is None else logits * (1 + t[:, None] / 1000)


def _network(seed: int = 0) -> _Timed:
    torch.manual_seed(seed)
    return _Timed()


def _inputs(rows: int = 12, scale: float = 0.8) -> tuple[Tensor, Tensor]:
    x = (torch.rand(rows, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1) * scale
    return x, torch.arange(rows) % 3


def _loss(network: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(network(x), labels, reduction="none").detach()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_attack_stays_inside_the_ball_and_the_bounds(norm: Norm, random_start: bool, targeted: bool) -> None:
    x, labels = _inputs(scale=1.0)
    generator = torch.Generator().manual_seed(2) if random_start else None
    attacked = pgd(_network(), x, labels, radius=0.5, num_steps=7, norm=norm, targeted=targeted, generator=generator)
    assert float(row_norms(attacked - x, norm).max()) <= 0.5 + 1e-5
    assert float(attacked.abs().max()) <= 1.0
    before, after = _loss(_network(), x, labels), _loss(_network(), attacked, labels)
    assert bool(((after < before) if targeted else (after > before)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_on_a_linear_two_class_model_the_attack_is_the_closed_form(norm: Norm) -> None:
    network = nn.Linear(6, 2)
    direction = (network.weight[1] - network.weight[0]).detach()
    wanted = 0.3 * (direction / direction.norm() if norm == "l2" else direction.sign())
    attacked = pgd(network, torch.zeros(1, 6), torch.tensor([0]), radius=0.3, num_steps=20, norm=norm)
    torch.testing.assert_close(attacked[0], wanted, rtol=1e-4, atol=1e-5)
    back = pgd(network, torch.zeros(1, 6), torch.tensor([0]), radius=0.3, num_steps=20, norm=norm, targeted=True)
    torch.testing.assert_close(back[0], -wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.05, 0.4])
def test_pgd_agrees_with_foolbox(norm: Norm, radius: float) -> None:
    network = _network().eval()
    x, labels = _inputs(scale=1.0)
    kind = foolbox.attacks.L2PGD if norm == "l2" else foolbox.attacks.LinfPGD
    attack = kind(abs_stepsize=0.07, steps=9, random_start=False)
    peer = foolbox.PyTorchModel(network, bounds=(-1, 1), device="cpu")
    theirs, _, _ = attack(peer, x, labels, epsilons=radius)
    ours = pgd(network, x, labels, radius=radius, num_steps=9, norm=norm, step_size=0.07)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_targeted_pgd_agrees_with_foolbox() -> None:
    network = _network().eval()
    x, labels = _inputs(scale=1.0)
    attack = foolbox.attacks.L2PGD(abs_stepsize=0.07, steps=9, random_start=False)
    goal = foolbox.criteria.TargetedMisclassification((labels + 1) % 3)
    theirs, _, _ = attack(foolbox.PyTorchModel(network, bounds=(-1, 1), device="cpu"), x, goal, epsilons=0.4)
    ours = pgd(network, x, (labels + 1) % 3, radius=0.4, num_steps=9, step_size=0.07, targeted=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_rows_are_frozen_once_fooled_and_not_computed_any_more() -> None:
    x, labels = _inputs(rows=60)
    network = _network()
    stopped = pgd(network, x, labels, radius=1.0, num_steps=12, step_size=0.05, early_stop=True)
    asked = network.rows.copy()
    assert asked == sorted(asked, reverse=True)
    assert 0 < asked[-1] < asked[0] == 60
    with torch.no_grad():
        wrong_before = network(x).argmax(1) != labels
        wrong = network(stopped).argmax(1) != labels
    assert torch.equal(stopped[wrong_before], x[wrong_before])
    assert int(wrong.sum()) > int(wrong_before.sum())
    for row in torch.arange(60)[wrong & ~wrong_before]:  # each stands at the first step of its path that fools
        path = [x[row]]
        for steps in range(1, 13):
            one = pgd(network, x[row, None], labels[row, None], radius=1.0, num_steps=steps, step_size=0.05)
            path.append(one[0])
            if int(network(one).argmax(1)) != int(labels[row]):
                break
        torch.testing.assert_close(stopped[row], path[-1], rtol=1e-5, atol=1e-6)


def test_the_time_of_each_row_reaches_the_classifier_when_some_rows_have_stopped() -> None:
    class GuideInput(_Timed):
        def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
            assert t is not None
            torch.testing.assert_close(t, (x[:, 5].detach() * 100).round(), rtol=0, atol=0)
            return super().forward(torch.cat([x[:, :5], torch.zeros(len(x), 1)], dim=1), t)

    torch.manual_seed(0)
    x, labels = _inputs(rows=40)
    t = torch.arange(40.0)
    x[:, 5] = t / 100  # this coordinate is the time, and the network's gradient in it is zero
    pgd(GuideInput(), x, labels, t=t, radius=1.0, num_steps=6, early_stop=True, bounds=None)


def test_noisy_inputs_have_no_bounds() -> None:
    x, labels = _inputs(scale=5.0)
    attacked = pgd(_network(), x, labels, t=torch.zeros(12), radius=0.5, num_steps=5, bounds=None)
    assert float(attacked.abs().max()) > 3
    assert float((attacked - x).norm(dim=1).max()) <= 0.5 + 1e-5


def test_more_restarts_find_a_loss_at_least_as_large() -> None:
    network = _network(3)
    x, labels = _inputs(rows=40)
    losses = []
    for restarts in (1, 4):
        generator = torch.Generator().manual_seed(5)
        attacked = pgd(
            network, x, labels, radius=1.0, num_steps=3, step_size=0.1, restarts=restarts, generator=generator
        )
        losses.append(_loss(network, attacked, labels))
    assert bool((losses[1] >= losses[0]).all())
    assert float((losses[1] - losses[0]).max()) > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_the_attacks_leave_no_gradient_and_work_inside_no_grad(norm: Norm) -> None:
    network = _network()
    x, labels = _inputs()
    with torch.no_grad():
        attacked = pgd(network, x, labels, radius=0.5, num_steps=3, norm=norm)
        smallest = carlini_wagner_l2(network, x, labels, num_steps=5, search_steps=2)
    assert not attacked.requires_grad
    assert not smallest.attacked.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not x.requires_grad


def test_a_radius_of_zero_changes_nothing() -> None:
    x, labels = _inputs()
    for norm in NORMS:
        assert torch.equal(pgd(_network(), x, labels, radius=0.0, num_steps=3, norm=norm), x)


def test_a_row_at_which_the_gradient_vanishes_stays_where_it_is() -> None:
    flat = nn.Linear(6, 3)
    nn.init.zeros_(flat.weight)
    x, labels = _inputs()
    assert torch.equal(pgd(flat, x, labels, radius=0.5, num_steps=3), x)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"radius": -1.0}, "`radius` must be finite and >= 0, got -1.0"),
        ({"radius": math.nan}, "`radius` must be finite and >= 0, got nan"),
        ({"num_steps": 0}, "`num_steps` must be a whole number >= 1, got 0"),
        ({"restarts": 0}, "`restarts` must be a whole number >= 1, got 0"),
        ({"restarts": 2}, "give a `generator`"),
        ({"step_size": 0.0}, "`step_size` must be finite and > 0, got 0.0"),
        ({"norm": "l1"}, "`norm` must be 'l2' or 'linf', got 'l1'"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], said: str) -> None:
    x, labels = _inputs()
    settings: dict[str, object] = {"radius": 0.5, "num_steps": 2, **wrong}
    # The message must come whether or not shapes and types are checked as well.
    with pytest.raises(Exception, match=said if "norm" not in wrong else "l1"):
        pgd(_network(), x, labels, **settings)  # type: ignore[arg-type]


def test_carlini_wagner_finds_the_distance_to_a_linear_boundary() -> None:
    torch.manual_seed(0)
    network = nn.Linear(6, 2)
    x, _ = _inputs(scale=0.5)
    logits = network(x).detach()
    labels = logits.argmax(1)
    direction = (network.weight[1] - network.weight[0]).detach()
    wanted = (logits[:, 1] - logits[:, 0]).abs() / direction.norm()
    found = carlini_wagner_l2(network, x, labels, num_steps=300, search_steps=8)
    torch.testing.assert_close(found.norms, wanted, rtol=0.01, atol=1e-3)
    assert bool((network(found.attacked).argmax(1) != labels).all())
    torch.testing.assert_close((found.attacked - x).norm(dim=1), found.norms, rtol=1e-4, atol=1e-5)


def test_carlini_wagner_is_as_near_as_foolbox() -> None:
    network = _network().eval()
    x, _ = _inputs(rows=20, scale=0.6)
    labels = network(x).argmax(1)
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=6, steps=150, stepsize=0.01, initial_const=0.1, abort_early=False
    )
    theirs, _, fooled = peer(foolbox.PyTorchModel(network, bounds=(-1, 1), device="cpu"), x, labels, epsilons=None)
    ours = carlini_wagner_l2(network, x, labels, num_steps=150, search_steps=6)
    assert bool(fooled.all())
    nearer = ours.norms / (theirs - x).norm(dim=1)
    assert float(nearer.max()) < 1.02
    assert float(nearer.median()) > 0.95  # and mostly the same border


def test_carlini_wagner_starts_on_the_bounds_as_well_as_inside_them() -> None:
    # Two classes that differ in the first coordinate alone: from 1 the border at 0 is at distance 1, whatever the others are.
    network = nn.Linear(6, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[4.0, 0, 0, 0, 0, 0], [-4.0, 0, 0, 0, 0, 0]]))
    x = torch.tensor([[1.0, -1, 1, -1, 1, -1], [-1.0, 1, 1, 1, -1, 1]])
    found = carlini_wagner_l2(network, x, torch.tensor([0, 1]))
    torch.testing.assert_close(found.norms, torch.ones(2), rtol=0.01, atol=0)


@pytest.mark.slow
def test_carlini_wagner_is_never_farther_than_a_search_over_pgd_radii() -> None:
    digits = load_testbed("digits")
    assert digits.test_data is not None
    rows, classify = digits.test_data(None), digits.classifier("time_dependent")
    x, labels, t = rows.x[:12], rows.labels[:12], torch.zeros(12)
    assert float((x.abs() == 1).float().mean()) > 0.4  # most pixels lie on a bound
    found = carlini_wagner_l2(classify, x, labels, t=t)
    assert bool(found.norms.isfinite().all())
    nearest = torch.full((12,), torch.inf)
    for step in range(60):  # radii 2 % apart, from 1 to 3.2
        attacked = pgd(classify, x, labels, t=t, radius=1.02**step, num_steps=40)
        fooled = classify(attacked, t).argmax(dim=1) != labels
        distance = row_norms(attacked - x, "l2")
        nearest = torch.where(fooled & (distance < nearest), distance, nearest)
        if bool(nearest.isfinite().all()):
            break
    assert bool((found.norms <= 1.02 * nearest).all())


def test_inputs_outside_the_bounds_are_refused_before_they_leave_the_ball() -> None:
    x, labels = _inputs()
    for attack in (
        lambda: pgd(_network(), 3 * x, labels, radius=0.1, num_steps=2),
        lambda: carlini_wagner_l2(_network(), 3 * x, labels),
    ):
        with pytest.raises(GuideGymError, match=r"`x` must lie inside `bounds` -1 .. 1, got .* `bounds=None`"):
            attack()
    noisy = pgd(_network(), 3 * x, labels, radius=0.1, num_steps=2, bounds=None)
    assert float(row_norms(noisy - 3 * x, "l2").max()) <= 0.1 + 1e-5


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_classifier_without_finite_logits_cannot_be_attacked(restarts: int) -> None:
    x, labels = _inputs()
    with pytest.raises(GuideGymError, match="not finite"):
        pgd(
            lambda x: x[:, :3] * torch.nan,
            x,
            labels,
            radius=0.1,
            num_steps=2,
            restarts=restarts,
            generator=torch.Generator().manual_seed(0),
        )


@pytest.mark.parametrize("norm", NORMS)
def test_saturated_logits_are_attacked_as_well_as_others(norm: Norm) -> None:
    network, (x, _) = _network(), _inputs(rows=40)
    labels = network(x).argmax(1)
    plain = pgd(network, x, labels, radius=0.5, num_steps=10, norm=norm)
    steep = pgd(lambda x: 1e4 * network(x), x, labels, radius=0.5, num_steps=10, norm=norm)
    survive = [float((network(attacked).argmax(1) == labels).float().mean()) for attacked in (plain, steep)]
    assert survive[0] < 0.9  # the attack does something
    assert survive[1] < survive[0] + 0.06  # two rows of forty


def test_carlini_wagner_leaves_rows_alone_that_it_cannot_fool() -> None:
    network = nn.Linear(6, 2)
    nn.init.zeros_(network.weight)
    with torch.no_grad():
        network.bias.copy_(torch.tensor([1.0, 0.0]))
    x, _ = _inputs()
    found = carlini_wagner_l2(network, x, torch.zeros(12, dtype=torch.long), num_steps=3, search_steps=2)
    assert torch.equal(found.attacked, x)
    assert bool(found.norms.isinf().all())
    already = carlini_wagner_l2(network, x, torch.ones(12, dtype=torch.long), num_steps=3, search_steps=2)
    assert float(already.norms.max()) < 1e-4


def test_carlini_wagner_targeted_reaches_the_target() -> None:
    network = _network()
    x, _ = _inputs(scale=0.5)
    target = (network(x).argmax(1) + 1) % 3
    found = carlini_wagner_l2(network, x, target, targeted=True, confidence=0.1, num_steps=150, search_steps=6)
    reached = found.norms.isfinite()
    assert int(reached.sum()) >= 9
    logits = network(found.attacked[reached])
    other = logits.scatter(1, target[reached, None], -torch.inf).amax(1)
    assert float((logits.gather(1, target[reached, None])[:, 0] - other).detach().min()) >= 0.1 - 1e-5
