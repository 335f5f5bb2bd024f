"""The information degree moves to the wanted class as the source says, whatever the number of steps."""

import math

import pytest
import torch

from guidegym import DDIM, Engine, GuideGymError, Likelihood, Testbed, row_seeds
from guidegym.guidance import advance_degree, initial_degree, step_gamma

LABEL = torch.tensor([1, 3])
DEGREE = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)


def test_the_update_is_equation_5() -> None:
    gamma = 0.3
    got = advance_degree(DEGREE, LABEL, torch.full((2,), gamma))
    for row, wanted in enumerate(LABEL.tolist()):
        s = DEGREE[row].tolist()
        delta_c = -gamma * (1 - s[wanted])
        others = sum(s) - s[wanted]
        deltas = [delta_c if i == wanted else -delta_c * s[i] / others for i in range(4)]
        torch.testing.assert_close(got[row].tolist(), [a - b for a, b in zip(s, deltas, strict=True)])


def test_it_stays_a_distribution_and_ends_one_hot_at_gamma_one() -> None:
    degree = DEGREE
    for gamma in (0.0, 0.04, 0.9, 1.0):
        degree = advance_degree(degree, LABEL, torch.full((2,), gamma))
        assert bool((degree >= 0).all())
        torch.testing.assert_close(degree.sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert degree.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("steps", [1, 10, 250])
def test_what_is_left_after_a_chain_does_not_depend_on_its_length(exact: Testbed, steps: int) -> None:
    engine = Engine(exact, DDIM(steps), Likelihood("exact"))
    state = engine.start(torch.tensor([0]), row_seeds(0, 1), share=0.0)
    assert state.degree.tolist() == [[0.5, 0.5]]
    weight, rate = torch.ones(1, dtype=torch.float64), torch.full((1,), 3.0, dtype=torch.float64)
    for _ in range(steps):
        state = engine.step(state, weight, rate=rate)
    assert float(state.degree[0, 1]) == pytest.approx(0.5 * math.exp(-3))


def test_the_sources_rate_is_that_of_its_step() -> None:
    rate = -250 * math.log(1 - 0.04)
    assert float(step_gamma(torch.tensor([rate], dtype=torch.float64), 250)) == pytest.approx(0.04)
    assert float(step_gamma(torch.zeros(1), 5)) == 0


def test_initial_degrees() -> None:
    assert initial_degree(LABEL, 4).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(initial_degree(LABEL, 4, share=0.7)[0], torch.tensor([0.1, 0.7, 0.1, 0.1]))
    with pytest.raises(GuideGymError, match=r"`share` must be in \[1 / 4, 1\], got 0.1"):
        initial_degree(LABEL, 4, share=0.1)
