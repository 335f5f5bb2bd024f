"""A pipeline's network as a function of rows, times and prompts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.models.pipeline_calls import NetworkCall

PLACES = ("img_ids", "txt_ids")
"""Conditions by token and not by prompt, even where there are as many tokens as prompts."""


class PromptedNetwork:
    """A pipeline's network as a function of rows, times and prompts, of which -1 is the negative prompt.

    Args:
        network: The network.
        positive: Its call for all prompts.
        negative: Its call for the negative prompt, one row per prompt.
        count: Number of prompts.
    """

    unit: float = 1.0
    """The network's time in units of ours."""

    def __init__(self, network: Any, positive: NetworkCall, negative: NetworkCall, count: int) -> None:
        self.network, self.named = network, positive.named
        self.dtype = positive.x.dtype
        self.args = [_table(one, none, count) for one, none in zip(positive.args, negative.args, strict=True)]
        self.kwargs = {
            name: one if name in PLACES else _table(one, negative.kwargs[name], count)
            for name, one in positive.kwargs.items()
        }
        self.time_dtype = positive.t.dtype if positive.t.is_floating_point() else torch.float32

    def __call__(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Return the network's output."""
        given = [_of_rows(one, label) for one in self.args]
        named = {name: _of_rows(one, label) for name, one in self.kwargs.items()}
        for name, value in reversed(
            list(zip(self.named, (x.to(self.dtype), (self.unit * t).to(self.time_dtype)), strict=True))
        ):
            if name is None:
                given.insert(0, value)
            else:
                named[name] = value
        output = self.network(*given, **named)
        told: Tensor = output[0] if isinstance(output, tuple) else output.sample
        return told.to(x.dtype)

    def digest(self) -> str:
        """Return a digest of the conditions."""
        found = hashlib.sha256()
        for name, one in [*((str(index), one) for index, one in enumerate(self.args)), *self.kwargs.items()]:
            for tensor in _tensors(one):
                found.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class _Table:
    """A condition of all prompts, followed by that of the negative prompt."""

    rows: Tensor = field(repr=False)


def _table(positive: Any, negative: Any, count: int) -> Any:
    """Return a condition of all prompts and of the negative one as a table, or what does not depend on the prompt as it is."""
    if isinstance(positive, dict):
        return {name: _table(one, negative[name], count) for name, one in positive.items()}
    if not isinstance(positive, Tensor) or positive.ndim == 0 or len(positive) != count:
        return positive
    if positive.shape[1:] != negative.shape[1:]:
        raise GuideGymError(
            f"gives conditions of shape {tuple(positive.shape[1:])} with a prompt and {tuple(negative.shape[1:])} without",
            argument="pipeline",
        )
    return _Table(torch.cat([positive, negative[:1]]))


def _of_rows(value: Any, label: Tensor) -> Any:
    """Return the conditions of rows by their prompts' numbers."""
    if isinstance(value, dict):
        return {name: _of_rows(one, label) for name, one in value.items()}
    if not isinstance(value, _Table):
        return value
    table = value.rows
    return table[label.to(table.device).where(label.to(table.device) >= 0, len(table) - 1)]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Return the tables of a condition."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, _Table):
        yield value.rows
