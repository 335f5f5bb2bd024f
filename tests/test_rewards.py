"""Rewards: per-row shares of what sets are measured by, and the two forms they come in."""

import pytest
import torch

from guidegym import DDIM, Engine, GuideGymError, Likelihood, References, Testbed, load_testbed
from guidegym.envs import make_task
from guidegym.envs.rewards import reward_mix
from guidegym.metrics import class_kernels
from guidegym.objectives import Finished, find_objective

ROWS = ("confidence", "guide_confidence", "energy_divergence", "frechet_diagonal", "kid_witness")
"""Objectives that have a value for any batch of the testbed."""


def _finished(engine: Engine, x: torch.Tensor, label: torch.Tensor) -> Finished:
    return Finished(x, label, engine.model, engine.guide)


def _value(engine: Engine, name: str, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return find_objective(name).reward(_finished(engine, x, label))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load_testbed("gaussians"), DDIM(5), Likelihood("exact"))


def _references(engine: Engine) -> References:
    assert isinstance(engine.model, Testbed)
    return engine.model.references


def _real(engine: Engine, num: int) -> tuple[torch.Tensor, torch.Tensor]:
    label = torch.arange(num) % 2
    return _references(engine).features[label, torch.arange(num) // 2], label


def test_the_mean_witness_of_a_class_is_minus_its_kernel_distance(engine: Engine) -> None:
    x, label = _real(engine, 40)
    x = x + 0.3
    share = _value(engine, "kid_witness", x, label)
    references = _references(engine)
    by_class = torch.stack([x[label == c] for c in range(2)])
    distance = class_kernels(by_class, references.features, references.self_term).distance()[0]
    torch.testing.assert_close(-share.mean().double(), distance, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_following_the_witness_follows_the_kernel_distance(engine: Engine) -> None:
    # Rows drawn from N(m, 1): the score-function gradient of the mean reward is the derivative of the distance in m.
    references, generator = _references(engine), torch.Generator().manual_seed(0)
    label = torch.zeros(4000, dtype=torch.long)

    def gradient(m: float) -> float:
        noise = torch.randn(4000, 2, generator=generator)
        value = _value(engine, "kid_witness", noise + m, label)
        return float((value * noise[:, 0]).mean())

    def distance(m: float) -> float:
        noise = torch.randn(1, 4000, 2, generator=torch.Generator().manual_seed(1))
        noise[..., 0] += m
        noise[..., 1] += 0.3
        return float(class_kernels(noise, references.features[:1], references.self_term[:1]).distance()[0])

    assert sum(gradient(0.3) for _ in range(20)) / 20 == pytest.approx(-(distance(0.4) - distance(0.2)) / 0.2, rel=0.1)


def test_the_spread_of_influences_is_the_error_of_the_mean(engine: Engine) -> None:
    mix, generator = reward_mix({"frechet_diagonal": 1.0}), torch.Generator().manual_seed(0)
    label = torch.arange(400) % 2
    drawn = [torch.randn(400, 2, generator=generator) for _ in range(300)]
    means = torch.stack([mix.value(_finished(engine, x, label)).mean() for x in drawn])
    influence = mix.value(_finished(engine, drawn[0], label), spread=True)
    torch.testing.assert_close(
        influence.mean(), mix.value(_finished(engine, drawn[0], label)).mean(), rtol=1e-4, atol=1e-4
    )
    assert float(influence.std() / 20) == pytest.approx(float(means.std()), rel=0.2)


@pytest.mark.parametrize("name", ROWS)
def test_real_data_of_the_wanted_class_is_worth_more_than_anything_else(engine: Engine, name: str) -> None:
    x, label = _real(engine, 200)
    real = _value(engine, name, x, label).mean()
    assert real > _value(engine, name, x * 3 + 4, label).mean()
    if name in ("confidence", "guide_confidence", "kid_witness"):
        assert real > _value(engine, name, x, 1 - label).mean()


@pytest.mark.parametrize("name", ROWS)
def test_a_worth_is_finite_and_at_least_its_floor(engine: Engine, name: str) -> None:
    x = torch.tensor([[1e30, -1e30], [float("nan"), 0.0], [0.1, 0.2]])
    value = _value(engine, name, x, torch.tensor([0, 1, 1]))
    assert bool(value.isfinite().all())
    assert float(value.min()) >= find_objective(name).least_reward


def _rewards(form: str, reward: str | dict[str, float], cost: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of the rewards of some rows, and the rewards of the last step."""
    task = make_task(reward=reward, reward_form=form, num_steps=6, observation="sample", evaluation_cost=cost)
    live = task.begin(torch.tensor([0, 1, 0, 1]), torch.tensor([1, 2, 3, 4]))
    total = torch.zeros(4)
    for step in range(6):
        action = torch.linspace(-1, 1, 4)[:, None] if step % 2 else torch.zeros(4, 1)
        live, reward_now, ended = task.act(task.look(live), action)
        total = total + reward_now
    assert bool(ended.all())
    return total, reward_now


@pytest.mark.parametrize("reward", [*ROWS, {"confidence": 1.0, "kid_witness": 0.2}], ids=str)
def test_the_differences_of_clean_estimates_add_up_to_the_terminal_worth(reward: str | dict[str, float]) -> None:
    terminal, last = _rewards("terminal", reward)
    assert torch.equal(terminal, last)
    differences, _ = _rewards("difference", reward)
    torch.testing.assert_close(differences, terminal, rtol=1e-4, atol=1e-4)


def test_evaluations_cost_and_a_zero_weight_asks_no_guide() -> None:
    free, _ = _rewards("terminal", "confidence")
    paid, _ = _rewards("terminal", "confidence", cost=0.01)
    # Six denoiser calls per row; three steps with the guide, forward and backward, and three more where the action is not -1.
    torch.testing.assert_close(free - paid, 0.01 * torch.tensor([12.0, 18.0, 18.0, 18.0]), rtol=1e-3, atol=1e-4)


def test_a_failed_row_ends_with_the_floor_and_leaves_the_others_alone() -> None:
    task = make_task(num_steps=3, observation="features", max_weight=1e38, reward_form="difference")
    live = task.begin(torch.tensor([0, 1]), torch.tensor([5, 6]))
    live = task.look(live)
    live, first, ended = task.act(live, torch.tensor([[1.0], [-1.0]]))
    if not bool(ended[0]):
        live, second, ended = task.act(task.look(live), torch.tensor([[1.0], [-1.0]]))
        first = first + second
    assert ended.tolist() == [True, False]
    assert bool(live.state.failed[0])
    assert float(first[0]) == pytest.approx(-20.0)
    assert bool(live.state.x.isfinite().all())


@pytest.mark.parametrize(
    ("reward", "changed", "message"),
    [
        ("beauty", {}, "unknown objective 'beauty'; known: accuracy, "),
        ({}, {}, "`reward` must be one of"),
        ({"confidence": -1.0}, {}, "the weights of `reward` must be > 0"),
        ("confidence", {"form": "sum"}, "`reward_form` must be one of terminal, difference, got 'sum'"),
        ("confidence", {"evaluation_cost": -1.0}, "`evaluation_cost` must be >= 0"),
    ],
)
def test_a_wrong_mix_gets_one_clear_line(reward: str, changed: dict[str, str], message: str) -> None:
    with pytest.raises(GuideGymError, match=message):
        reward_mix(reward, **changed)  # type: ignore[arg-type]


def test_energy_divergence_needs_class_energies(fashion: Testbed) -> None:
    import dataclasses

    engine = Engine(dataclasses.replace(fashion, class_energies={}), DDIM(2), Likelihood("time_dependent"))
    with pytest.raises(GuideGymError, match="needs the model's `class_energies` of classifier 'time_dependent'"):
        _value(engine, "energy_divergence", torch.zeros(1, 1, 28, 28), torch.tensor([0]))
