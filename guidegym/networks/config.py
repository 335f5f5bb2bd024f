"""Capture of a network's constructor settings for its weight file."""

import functools
import inspect
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=type[nn.Module])


def configured(network: Network) -> Network:
    """Store the constructor settings of every network of a class as ``config``; a class decorator.

    The settings are keyword arguments that JSON can represent; tuples are stored as lists, and options that are off (False, 0
    or empty, which must be their default) are left out.
    """
    build = network.__init__
    signature = inspect.signature(build)

    @functools.wraps(build)
    def init(self: nn.Module, **settings: Any) -> None:
        build(self, **settings)
        bound = signature.bind(self, **settings)
        bound.apply_defaults()
        _, *own = bound.arguments.items()
        self.__dict__["config"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in own if value
        }

    network.__init__ = init  # type: ignore[method-assign]
    return network
