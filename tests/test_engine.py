import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from guidegym import (
    DDIM,
    DDPM,
    ClassEnergy,
    Constant,
    Engine,
    Guidance,
    GuideGymError,
    Sigmoid,
    Testbed,
    row_seeds,
    sample,
)
from guidegym.core.sampling import rollout
from guidegym.core.state import join

GUIDANCE = Guidance(ClassEnergy("robust"), Sigmoid(8.0, 0.2, 500.0, 0.02))
LABELS = [0, 3, 9, 1, 7, 7, 2]


def _doubled(network: Any) -> nn.Module:
    copied: nn.Module = copy.deepcopy(network)
    return copied.double()


@pytest.mark.parametrize("sampler", [DDIM(6), DDIM(6, eta=1.0), DDPM(6)], ids=repr)
def test_a_row_is_the_same_alone_in_a_batch_of_seven_and_permuted(fashion: Testbed, sampler: DDIM | DDPM) -> None:
    # Kernels round differently for other batch sizes, and guidance at this scale stretches that: in float64 far below
    # anything that rows could have told each other.
    exact = dataclasses.replace(
        fashion,
        denoiser=_doubled(fashion.denoiser),
        classifiers={"robust": _doubled(fashion.classifiers["robust"])},
        dtype=torch.float64,
    )
    seeds = row_seeds(3, 7)
    batch = sample(exact, GUIDANCE, labels=LABELS, seeds=seeds, sampler=sampler)
    for row in (0, 4):
        alone = sample(exact, GUIDANCE, labels=LABELS[row : row + 1], seeds=seeds[row : row + 1], sampler=sampler)
        torch.testing.assert_close(alone.x[0], batch.x[row], rtol=1e-9, atol=1e-9)
    order = torch.tensor([6, 0, 3, 1, 5, 2, 4])
    permuted = sample(exact, GUIDANCE, labels=torch.tensor(LABELS)[order], seeds=seeds[order], sampler=sampler)
    torch.testing.assert_close(permuted.x, batch.x[order], rtol=1e-9, atol=1e-9)


def test_on_exact_networks_a_row_is_the_same_to_rounding(exact: Testbed) -> None:
    guidance = Guidance(ClassEnergy("exact"), Constant(0.7))
    seeds, labels = row_seeds(0, 50), torch.arange(50) % 2
    batch = sample(exact, guidance, labels=labels, seeds=seeds, sampler=DDPM(30))
    chunked = sample(exact, guidance, labels=labels, seeds=seeds, sampler=DDPM(30), batch_size=7)
    torch.testing.assert_close(chunked.x, batch.x, rtol=1e-9, atol=1e-9)


def test_rows_at_different_steps_advance_together_as_they_would_alone(exact: Testbed) -> None:
    engine = Engine(exact, DDIM(8, eta=0.5), ClassEnergy("exact"))
    labels, seeds = torch.tensor([0, 1]), torch.tensor([11, 12])
    weight = torch.full((1,), 0.5, dtype=torch.float64)
    rows = [engine.start(labels[i : i + 1], seeds[i : i + 1]) for i in range(2)]
    for _ in range(3):
        rows[1] = engine.step(rows[1], weight)
    mixed = join(rows)
    for _ in range(8):
        mixed = engine.step(mixed, weight.expand(2))
        rows = [engine.step(row, weight) for row in rows]
    torch.testing.assert_close(mixed.x, torch.cat([row.x for row in rows]), rtol=1e-10, atol=1e-10)
    assert mixed.step.tolist() == [8, 8]


def test_a_finished_row_stays_as_it_is(exact: Testbed) -> None:
    engine = Engine(exact, DDPM(3))
    state = engine.start(torch.tensor([0]), torch.tensor([0]))
    for _ in range(3):
        state = engine.step(state, None)
    assert torch.equal(engine.step(state, None).x, state.x)


def test_one_denoiser_call_a_step_whatever_the_number_of_rows(exact: Testbed) -> None:
    calls: list[int] = []

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return exact.denoiser(x, t)

    counting = dataclasses.replace(exact, denoiser=denoiser)
    got = sample(counting, Guidance(ClassEnergy("exact"), Constant(1.0)), labels=[0] * 90, sampler=DDIM(4))
    assert calls == [90] * 4
    assert (got.cost.denoiser, got.cost.guide_forward, got.cost.guide_backward) == (360, 360, 360)


def test_a_row_that_becomes_non_finite_fails_alone(exact: Testbed) -> None:
    engine = Engine(exact, DDIM(5), ClassEnergy("exact"))
    labels, seeds = torch.tensor([0, 1, 0]), row_seeds(0, 3)
    weights = torch.full((3, 5), 0.5, dtype=torch.float64)
    healthy = rollout(engine, labels, seeds, weights)
    poisoned = weights.clone()
    poisoned[1] = 1e300
    got = rollout(engine, labels, seeds, poisoned)
    assert got.failed.tolist() == [False, True, False]
    assert bool(got.x.isfinite().all())
    torch.testing.assert_close(got.x[[0, 2]], healthy.x[[0, 2]])


def test_a_scale_of_a_million_is_saturated_and_not_a_crash(fashion: Testbed) -> None:
    got = sample(fashion, Guidance(ClassEnergy("robust"), Constant(1e6)), labels=[0, 1], sampler=DDIM(4))
    assert bool(got.x.isfinite().all())
    assert float(got.x.abs().max()) <= 1.0 + 1e-4


def test_bad_input_is_refused(exact: Testbed) -> None:
    with pytest.raises(GuideGymError, match=r"`labels` must be in 0\.\.1, got 2"):
        sample(exact, labels=[0, 2])
    with pytest.raises(GuideGymError, match="must have equal lengths"):
        sample(exact, labels=[0, 1], seeds=[1])
    with pytest.raises(GuideGymError, match="lengths >= 1"):
        sample(exact, labels=[], seeds=[])
    with pytest.raises(GuideGymError, match="`seeds` must be >= 0"):
        sample(exact, labels=[0], seeds=[-1])
    with pytest.raises(GuideGymError, match="`seed` must be a whole number in"):
        sample(exact, labels=[0], seed=-1)
    with pytest.raises(GuideGymError, match="`batch_size` must be a whole number >= 1"):
        sample(exact, labels=[0], batch_size=0)
    with pytest.raises(GuideGymError, match="model 'gaussians' has no classifier 'robust'; it has exact"):
        sample(exact, GUIDANCE, labels=[0])
    wrong = dataclasses.replace(exact, denoiser=lambda x, t: x[:, :1])
    with pytest.raises(GuideGymError, match=r"must return a prediction of the samples' shape \(1, 2\), got \(1, 1\)"):
        sample(wrong, labels=[0])
    with pytest.raises(GuideGymError, match="`weight` must be None"):
        engine = Engine(exact, DDIM(3))
        engine.step(engine.start(torch.tensor([0]), torch.tensor([0])), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": [0.7, 1.0]},
        {"labels": ["first"]},
        {"labels": [[0, 1]]},
        {"labels": [0, 1], "seeds": [1.5, 2.0]},
        {"labels": [0], "seed": 1.5},
    ],
)
def test_labels_and_seeds_are_whole_numbers(wrong: dict[str, Any], exact: Testbed, unchecked: None) -> None:
    with pytest.raises(GuideGymError, match=r"must be whole numbers|`seed` must be a whole number"):
        sample(exact, sampler=DDIM(2), **wrong)
