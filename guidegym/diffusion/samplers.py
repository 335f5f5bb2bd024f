"""Samplers by name, and the flags that describe one."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from guidegym.diffusion.ddim import DDIM
from guidegym.diffusion.sampler import Sampler
from guidegym.errors import GuideGymError
from guidegym.registry import find, name_of, names
from guidegym.support.settings import check_settings


def sampler_name(sampler: Sampler) -> str:
    """Return the name of a sampler's kind: a registered one, or a reference to its definition.

    Raises:
        GuideGymError: If there is neither.
    """
    return name_of("sampler", type(sampler))


def sampler_flags(sampler: Sampler) -> str:
    """Return the flags of ``guidegym.sample`` for the sampler."""
    flags = [] if type(sampler) is DDIM else [f"--sampler {sampler_name(sampler)}"]
    flags.append(f"--steps {sampler.num_steps}")
    settings = {field.name: getattr(sampler, field.name) for field in fields(sampler)}  # type: ignore[arg-type]
    del settings["num_steps"]
    if type(sampler) is DDIM:
        eta = settings.pop("eta")
        flags.append(f"--eta {eta:g}" if float(f"{eta:g}") == eta else f"--eta {eta!r}")  # short if exact
    defaults = type(sampler)()
    pairs = [f"{name}={value}" for name, value in settings.items() if value != getattr(defaults, name)]
    return " ".join([*flags, *(["--sampler-kwargs", *pairs] if pairs else [])])


def with_steps(sampler: Sampler, num_steps: int) -> Sampler:
    """Return the same sampler with another number of steps."""
    changed: Sampler = replace(sampler, num_steps=num_steps)  # type: ignore[type-var]
    return changed


def make_sampler(given: str | Mapping[str, Any] | Sampler, num_steps: int) -> Sampler:
    """Return a sampler with ``num_steps`` steps.

    Args:
        given: A name or a reference, ``{"kind": name, **arguments}``, or a sampler.
        num_steps: Its number of steps.

    Raises:
        GuideGymError: If there is no such sampler, or it does not take the arguments.
    """
    if not isinstance(given, str | Mapping):
        return with_steps(given, num_steps)
    arguments = {"kind": given} if isinstance(given, str) else dict(given)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str):
        raise GuideGymError(f"must be of kind {', '.join(names('sampler'))}, got {kind!r}", argument="sampler")
    make = find("sampler", kind)
    check_settings(make, arguments, what=f"sampler '{kind}'", but=("num_steps",))
    made: Sampler = make(num_steps, **arguments)
    return made
