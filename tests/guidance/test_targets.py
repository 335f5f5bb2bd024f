"""The information degree moves to the wanted class as the source says, whatever the number of steps."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guidegym import (
    DDIM,
    DDPM,
    Engine,
    GuideGymError,
    LabelSmoothing,
    Likelihood,
    OneHot,
    PredictorCorrector,
    ProbabilityFlow,
    Similarity,
    Testbed,
    Uniform,
    rate_of_gamma,
    row_seeds,
)
from guidegym.diffusion import Sampler, with_steps
from guidegym.guidance import advance_target, step_gamma
from guidegym.registry import names, registered

LABEL = torch.tensor([1, 3])
DEGREE = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)


def test_the_update_is_equation_5() -> None:
    gamma = 0.3
    got = advance_target(DEGREE, LABEL, torch.full((2,), gamma))
    for row, wanted in enumerate(LABEL.tolist()):
        s = DEGREE[row].tolist()
        delta_c = -gamma * (1 - s[wanted])
        others = sum(s) - s[wanted]
        deltas = [delta_c if i == wanted else -delta_c * s[i] / others for i in range(4)]
        torch.testing.assert_close(got[row].tolist(), [a - b for a, b in zip(s, deltas, strict=True)])


def test_it_stays_a_distribution_and_ends_one_hot_at_gamma_one() -> None:
    target = DEGREE
    for gamma in (0.0, 0.04, 0.9, 1.0):
        target = advance_target(target, LABEL, torch.full((2,), gamma))
        assert bool((target >= 0).all())
        torch.testing.assert_close(target.sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert target.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("steps", [1, 10, 250])
def test_what_is_left_after_a_chain_does_not_depend_on_its_length(exact: Testbed, steps: int) -> None:
    engine = Engine(exact, DDIM(steps), Likelihood("exact"))
    state = engine.start(torch.tensor([0]), row_seeds(0, 1), target=Uniform())
    assert state.target.tolist() == [[0.5, 0.5]]
    weight, rate = torch.ones(1, dtype=torch.float64), torch.full((1,), 3.0, dtype=torch.float64)
    for _ in range(steps):
        state = engine.step(state, weight, rate=rate)
    assert float(state.target[0, 1]) == pytest.approx(0.5 * math.exp(-3))


def test_the_sources_rate_is_that_of_its_step() -> None:
    rate = rate_of_gamma(0.04)
    assert rate == pytest.approx(-250 * math.log(1 - 0.04))
    assert float(step_gamma(torch.tensor([rate], dtype=torch.float64), 250)) == pytest.approx(0.04)
    assert float(step_gamma(torch.zeros(1), 5)) == 0


@given(gamma=st.floats(0, 1), numbers=st.lists(st.floats(0.001, 1), min_size=2, max_size=9), label=st.integers(0, 8))
def test_it_stays_on_the_simplex_for_every_gamma(gamma: float, numbers: list[float], label: int) -> None:
    target = torch.tensor([numbers], dtype=torch.float64)
    target = target / target.sum()
    wanted = torch.tensor([label % len(numbers)])
    moved = advance_target(target, wanted, torch.tensor([gamma], dtype=torch.float64))
    assert bool((moved >= 0).all())
    assert float(moved.sum()) == pytest.approx(1)
    assert float(moved[0, wanted]) >= float(target[0, wanted]) - 1e-12
    if gamma == 0:
        torch.testing.assert_close(moved, target, rtol=0, atol=0)


@pytest.mark.parametrize(
    "sampler", [DDIM(25), DDIM(25, eta=1.0), DDPM(25), ProbabilityFlow(25), PredictorCorrector(25)]
)
def test_the_target_moves_under_every_sampler_and_250_steps_end_where_25_do(exact: Testbed, sampler: Sampler) -> None:
    ends = []
    for num_steps in (25, 250):
        engine = Engine(exact, with_steps(sampler, num_steps), Likelihood("exact"))
        state = engine.start(torch.tensor([0, 1]), row_seeds(0, 2), target=LabelSmoothing(0.6))
        weight = torch.ones(2, dtype=torch.float64)
        rate = torch.full((2,), rate_of_gamma(0.04), dtype=torch.float64)
        for _ in range(num_steps):
            state = engine.step(state, weight, rate=rate)
        ends.append(state.target)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-10, atol=1e-12)
    assert float(ends[0][0, 1]) == pytest.approx(0.4 * 0.96**250)


def test_gamma_one_is_vanilla_guidance_after_one_step(exact: Testbed) -> None:
    engine = Engine(exact, DDIM(5), Likelihood("exact"))
    soft = engine.start(torch.tensor([1]), row_seeds(0, 1), target=Uniform())
    weight, rate = torch.ones(1, dtype=torch.float64), torch.full((1,), 1e9, dtype=torch.float64)
    after = engine.step(soft, weight, rate=rate)
    assert after.target.tolist() == [[0, 1]]
    hard = replace(after, target=torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(engine.step(after, weight, rate=rate).x, engine.step(hard, weight).x)


ALIKE = torch.tensor([[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]])


class _Named:
    """A testbed of three classes, as far as targets look at one."""

    name, num_classes, similarities = "three", 3, {"words": ALIKE}
    process, class_energies, clip = (None,) * 3

    is_conditional, null_class = False, True

    def unconditional(self) -> None:
        """It has none."""

    def classifier(self, name: str) -> None:
        """It has none."""

    def conditional(self, name: str) -> None:
        """It has none."""


THREE: Any = _Named()


@pytest.mark.parametrize("kind", names("target"))
def test_every_target_is_a_distribution_with_the_wanted_class_first(kind: str) -> None:
    record = Similarity("words") if kind == "similarity" else registered("target")[kind]()
    record.check(THREE)
    target = record.rows(THREE, torch.tensor([0, 1, 2]))
    assert bool((target >= 0).all())
    torch.testing.assert_close(target.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert bool((target.diagonal() >= target.amax(dim=1) - 1e-12).all())


def test_a_negative_cosine_is_no_likeness() -> None:
    target = Similarity("words").rows(THREE, torch.tensor([0, 1]))
    torch.testing.assert_close(target[0], torch.tensor([1 / 1.5, 0.5 / 1.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(target[1], torch.tensor([0.5, 1.0, 0.1], dtype=torch.float64) / 1.6, rtol=1e-6, atol=0)


def test_targets_at_the_start() -> None:
    assert OneHot().rows(THREE, torch.tensor([2])).tolist() == [[0, 0, 1]]
    torch.testing.assert_close(
        LabelSmoothing(0.7).rows(THREE, torch.tensor([1]))[0], torch.tensor([0.15, 0.7, 0.15], dtype=torch.float64)
    )
    with pytest.raises(GuideGymError, match=r"`share` must be in \[1 / 3, 1\] on model 'three', got 0.1"):
        LabelSmoothing(0.1).check(THREE)
    with pytest.raises(GuideGymError, match=r"`share` must be in \[0, 1\], got 2"):
        LabelSmoothing(2.0)
    with pytest.raises(GuideGymError, match="has no similarities from 'clip'; available: words"):
        Similarity("clip").check(THREE)
    with pytest.raises(GuideGymError, match=r"`gamma` must be in \[0, 1\), got 1"):
        rate_of_gamma(1.0)
