"""The state of a batch of trajectories: tensors that can be forked, joined, saved and loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save
from torch import Tensor

from guidegym.diffusion import Memory
from guidegym.errors import FileFormatError, GuideGymError
from guidegym.guidance import Cost
from guidegym.support.files import write_atomically
from guidegym.support.tensor_files import read_tensors

FORMAT = "guidegym-state/3"
FORMER = "guidegym-state/2"
"""The previous format, in which the target distribution is called the degree."""


@dataclass(frozen=True, eq=False)
class State:
    """One batch of trajectories; rows may be at different steps.

    Args:
        x: The samples, noisy until their chain ends.
        x_0: Latest estimate of the clean samples; zero before the first step.
        step: Steps each row has taken, in 0 .. num_steps.
        label: Wanted class of each row.
        target: Target distribution over classes of each row; one-hot is plain guidance.
        weight: Guidance weight of each row's last step; zero before the first.
        seed: Noise seed of each row.
        failed: Rows that became non-finite; they keep their last finite sample.
        memory: The guide's memory of each row's last step; zero if it has none.
        evaluations: Network evaluations of each row so far, in the order of ``Cost``.
        solver: The sampler's memory of each row, by name; empty for samplers without memory.
    """

    x: Float[Tensor, " batch *event"]
    x_0: Float[Tensor, " batch *event"]
    step: Int[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    target: Float[Tensor, " batch classes"]
    weight: Float[Tensor, " batch"]
    seed: Int[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]
    memory: Float[Tensor, " batch *event"]
    evaluations: Int[Tensor, " batch 4"]
    solver: Memory = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def cost(self) -> Cost:
        """Network evaluations of all rows so far."""
        return Cost(*self.evaluations.sum(dim=0).tolist())


def check_rows(labels: Int[Tensor, " batch"], seeds: Int[Tensor, " seeds"], num_classes: int) -> None:
    """Check the labels and seeds of a batch to start.

    Raises:
        GuideGymError: If they differ in length, or one of their values is out of range.
    """
    if len(labels) != len(seeds) or len(labels) == 0:
        raise GuideGymError(f"`labels` and `seeds` must have equal lengths >= 1, got {len(labels)}, {len(seeds)}")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        wrong = next(int(label) for label in labels if not 0 <= int(label) < num_classes)
        raise GuideGymError(f"`labels` must be in 0..{num_classes - 1}, got {wrong}")
    if int(seeds.min()) < 0:
        raise GuideGymError(f"`seeds` must be >= 0, got {int(seeds.min())}")


NAMES = tuple(one.name for one in fields(State) if one.name != "solver")
SOLVER = "solver."
"""Prefix, in a file, of the names of the sampler's memory."""


def fork(state: State, rows: Int[Tensor, " rows"] | Bool[Tensor, " batch"]) -> State:
    """Return the given rows as a new batch; a row may be taken several times.

    A fork and its parent share their seeds: under the same actions they continue identically, under others they differ only by
    the actions.

    Args:
        state: The batch.
        rows: Row indices, or a mask.
    """
    solver = {name: own[rows] for name, own in state.solver.items()}
    return State(**{name: getattr(state, name)[rows] for name in NAMES}, solver=solver)


def join(states: Sequence[State]) -> State:
    """Return the rows of several batches as one.

    Raises:
        GuideGymError: If ``states`` is empty.
    """
    if not states:
        raise GuideGymError("`states` must not be empty")
    solver = {name: torch.cat([state.solver[name] for state in states]) for name in states[0].solver}
    return State(**{name: torch.cat([getattr(state, name) for state in states]) for name in NAMES}, solver=solver)


def put(state: State, rows: Int[Tensor, " rows"], other: State) -> State:
    """Return the batch with the given rows replaced by those of ``other``."""
    solver = {name: own.index_copy(0, rows, other.solver[name]) for name, own in state.solver.items()}
    tensors = {name: getattr(state, name).index_copy(0, rows, getattr(other, name)) for name in NAMES}
    return State(**tensors, solver=solver)


def save_state(state: State, path: str | Path) -> None:
    """Write a batch to one safetensors file, whose header names the format."""
    named = {name: getattr(state, name) for name in NAMES} | {SOLVER + name: own for name, own in state.solver.items()}
    tensors = {name: own.cpu().contiguous() for name, own in named.items()}
    write_atomically(Path(path), save(tensors, metadata={"format": FORMAT}))


def load_state(path: str | Path, *, device: torch.device | str = "cpu") -> State:
    """Read a batch.

    Raises:
        FileFormatError: If the file cannot be read, is not a state file, or its tensors are inconsistent.
    """
    header, found = read_tensors(Path(path), device=device)
    if header.get("format") not in (FORMAT, FORMER):
        raise FileFormatError(f"{path} must have format '{FORMAT}', got {header.get('format')!r}")
    if header.get("format") == FORMER and "degree" in found:
        found["target"] = found.pop("degree")
    missing = sorted(set(NAMES) - found.keys())
    if missing:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}")
    tensors = {name: found[name] for name in NAMES}
    solver = {name.removeprefix(SOLVER): own for name, own in found.items() if name.startswith(SOLVER)}
    if (
        len({len(tensor) for tensor in (*tensors.values(), *solver.values())}) != 1
        or tensors["x"].shape != tensors["x_0"].shape
    ):
        raise FileFormatError(f"{path} holds tensors of different lengths")
    return State(**tensors, solver=solver)
