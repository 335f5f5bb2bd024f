"""How a pipeline of diffusers calls its network, seen by running it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guidegym.errors import GuideGymError


class _EnoughError(Exception):
    """Ends a run of a pipeline as soon as it has shown what is asked."""


@dataclass(frozen=True, eq=False)
class NetworkCall:
    """A pipeline's call of its network: noisy rows, time, and all other arguments by position or name."""

    x: Tensor
    t: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    named: tuple[str | None, str | None]

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> "NetworkCall":
        """Take a call apart."""
        rest, found, named = dict(kwargs), [], []
        positional = list(args)
        for names in (("sample", "hidden_states"), ("timestep", "t")):
            name = next((one for one in names if one in rest), None)
            if name is None and not positional:
                raise GuideGymError("calls its network without noisy rows and a time", argument="pipeline")
            found.append(positional.pop(0) if name is None else rest.pop(name))
            named.append(name)
        x, t = found
        return cls(x, torch.as_tensor(t), tuple(positional), rest, (named[0], named[1]))


def _rows(call: NetworkCall, rows: slice) -> NetworkCall:
    """Return some rows of a call."""
    size = len(call.x)

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 0 and len(value) == size:
            return value[rows]
        return {name: cut(one) for name, one in value.items()} if isinstance(value, dict) else value

    return NetworkCall(call.x[rows], cut(call.t), tuple(map(cut, call.args)), cut(call.kwargs), call.named)


@contextlib.contextmanager
def quiet(pipeline: Any) -> Iterator[None]:
    """Hide the pipeline's progress bar for a while."""
    before = dict(getattr(pipeline, "_progress_bar_config", {}))
    pipeline.set_progress_bar_config(**{**before, "disable": True})
    try:
        yield
    finally:
        pipeline.set_progress_bar_config(**before)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of one object for a while."""
    before = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def conditions_of(pipeline: Any, network: Any, call: dict[str, Any]) -> tuple[NetworkCall, NetworkCall]:
    """Return the calls that the pipeline makes for all prompts and without a prompt; the network itself is not evaluated."""
    calls: list[NetworkCall] = []
    rows = len(call["prompt"])

    def forward(*args: Any, **kwargs: Any) -> tuple[Tensor]:
        calls.append(NetworkCall.of(args, kwargs))
        if len(calls) == 2 or len(calls[0].x) == 2 * rows:
            raise _EnoughError
        return (torch.zeros_like(calls[0].x),)

    def step(*_: Any, **__: Any) -> None:
        raise _EnoughError

    with (
        _replaced(network, "forward", forward),
        _replaced(pipeline.scheduler, "step", step),
        contextlib.suppress(_EnoughError),
    ):
        pipeline(**call)
    if len(calls) == 1 and len(calls[0].x) == 2 * rows:
        return _rows(calls[0], slice(rows, None)), _rows(calls[0], slice(rows))
    if len(calls) == 2 and [len(one.x) for one in calls] == [rows, rows]:
        return calls[0], calls[1]
    raise GuideGymError(
        f"{type(pipeline).__name__} evaluates its network on {[len(one.x) for one in calls]} rows for {rows} prompts, not once "
        "with and once without each prompt",
        argument="pipeline",
    )


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """A real step: the network's call, and what the scheduler was given."""

    call: NetworkCall
    output: Tensor
    time: Tensor


def steps_of(pipeline: Any, network: Any, call: dict[str, Any]) -> list[RecordedStep]:
    """Return two real steps of a run."""
    calls: list[NetworkCall] = []
    steps: list[RecordedStep] = []
    forward, step = network.forward, pipeline.scheduler.step

    def seen(*args: Any, **kwargs: Any) -> Any:
        calls.append(NetworkCall.of(args, kwargs))
        return forward(*args, **kwargs)

    def noted(output: Tensor, t: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(RecordedStep(calls[-1], output, torch.as_tensor(t)))
        if len(steps) == 2:
            raise _EnoughError
        return step(output, t, *args, **kwargs)

    with (
        _replaced(network, "forward", seen),
        _replaced(pipeline.scheduler, "step", noted),
        contextlib.suppress(_EnoughError),
    ):
        pipeline(**call)
    return steps
