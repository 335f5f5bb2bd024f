"""Trajectories are tensors: forked, joined, saved and loaded without changing their future."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guidegym import (
    DDIM,
    Cost,
    DPMSolverPP,
    Engine,
    FileFormatError,
    GuideGymError,
    Likelihood,
    State,
    Testbed,
    row_seeds,
)
from guidegym.core.state import NAMES, fork, join, load_state, put, save_state


@pytest.fixture
def engine(exact: Testbed) -> Engine:
    return Engine(exact, DDIM(6, eta=0.7), Likelihood("exact"))


def _begun(engine: Engine, steps: int = 2) -> State:
    state = engine.start(torch.tensor([0, 1, 1, 0]), row_seeds(0, 4))
    for _ in range(steps):
        state = engine.step(state, torch.ones(4, dtype=torch.float64))
    return state


def _end(engine: Engine, state: State, weight: float) -> State:
    for _ in range(engine.sampler.num_steps):
        state = engine.step(state, torch.full((len(state),), weight, dtype=torch.float64))
    return state


def test_a_fork_and_its_parent_have_the_same_future_under_the_same_actions(engine: Engine) -> None:
    state = _begun(engine)
    rows = torch.tensor([2, 2, 0])
    torch.testing.assert_close(_end(engine, fork(state, rows), 0.5).x, _end(engine, state, 0.5).x[rows])
    other = _end(engine, fork(state, rows), 3.0).x
    assert not torch.allclose(other, _end(engine, state, 0.5).x[rows])


def test_join_and_put_are_the_inverse_of_fork(engine: Engine) -> None:
    state = _begun(engine)
    mask = torch.tensor([True, False, False, True])
    parts = join([fork(state, mask), fork(state, ~mask)])
    assert torch.equal(parts.x, state.x[torch.tensor([0, 3, 1, 2])])
    fresh = engine.start(torch.tensor([1]), torch.tensor([9]))
    mixed = put(state, torch.tensor([1]), fresh)
    assert mixed.step.tolist() == [2, 0, 2, 2]
    assert torch.equal(mixed.x[1], fresh.x[0])
    with pytest.raises(GuideGymError, match="must not be empty"):
        join([])


def test_cost_is_counted_by_row_and_travels_with_it(engine: Engine) -> None:
    state = _begun(engine)
    assert state.cost == Cost(8, 8, 8)
    assert fork(state, torch.tensor([1])).cost == Cost(2, 2, 2)
    seen = engine.advance(state, engine.predict(state, clean=True), None)
    assert seen.cost == Cost(12, 16, 12)


def test_a_saved_state_goes_on_as_if_it_had_not_been(engine: Engine, tmp_path: Path) -> None:
    state = _begun(engine)
    save_state(state, tmp_path / "state.safetensors")
    loaded = load_state(tmp_path / "state.safetensors")
    for name in NAMES:
        assert torch.equal(getattr(loaded, name), getattr(state, name))
    assert torch.equal(_end(engine, loaded, 1.0).x, _end(engine, state, 1.0).x)


def test_a_file_of_the_former_format_is_read(engine: Engine, tmp_path: Path) -> None:
    state = _begun(engine)
    tensors = {"degree" if name == "target" else name: getattr(state, name) for name in NAMES}
    save_file(tensors, tmp_path / "state.safetensors", metadata={"format": "guidegym-state/2"})
    loaded = load_state(tmp_path / "state.safetensors")
    for name in NAMES:
        assert torch.equal(getattr(loaded, name), getattr(state, name))


def test_a_state_of_another_sampler_gets_one_clear_line(engine: Engine) -> None:
    state, other = _begun(engine), replace(engine, sampler=DPMSolverPP(6))
    with pytest.raises(
        GuideGymError, match=r"`state` is of another .* DPMSolverPP keeps level, x_0 of each row and it has nothing"
    ):
        other.step(state, None)
    with pytest.raises(
        GuideGymError, match=r"`state` is of another .* DDIM keeps nothing of each row and it has level, x_0"
    ):
        engine.step(other.start(state.label, state.seed), None)


def test_a_file_that_is_no_state_gets_one_clear_line(engine: Engine, tmp_path: Path) -> None:
    state, path = _begun(engine), tmp_path / "state.safetensors"
    save_state(state, path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileFormatError, match="is not a readable safetensors file"):
        load_state(path)
    with pytest.raises(FileFormatError, match="is not a readable safetensors file"):
        load_state(tmp_path / "none")
    save_file({"x": state.x}, path)
    with pytest.raises(FileFormatError, match="must have format 'guidegym-state/3', got None"):
        load_state(path)
    save_file({"x": state.x}, path, metadata={"format": "guidegym-state/2"})
    with pytest.raises(FileFormatError, match="lacks evaluations"):
        load_state(path)
