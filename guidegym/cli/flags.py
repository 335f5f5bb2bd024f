"""What the verbs share: kinds of flags, the diffusion sampler, the device, and errors that name the given flag."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from guidegym.cli.constants import parts
from guidegym.cli.values import parse_pairs
from guidegym.errors import GuideGymError
from guidegym.registry import find

if TYPE_CHECKING:
    import torch

    from guidegym.diffusion import Sampler

MANY = Parameter(consume_multiple=1)
"""A flag that takes one or more values, ``--flag A B``; repeated flags add theirs."""
STEPS = {"ddim": 15, "ddpm": 100}
"""Default reverse steps of samplers for which they are fewer than the sampler's own default."""


def flag(field: str) -> str:
    """Return the flag of a field of settings."""
    return f"--{field.replace('_', '-')}"


@contextmanager
def naming_flags(settings: Any, *same: str, **others: str) -> Iterator[None]:
    """Let errors about arguments whose values come from flags name those flags.

    Wrap only the call that takes the values: another function may have an argument of the same name.

    Args:
        settings: The settings that the values come from; the flag of a field that is None was not given and is not named.
        same: Arguments with the same name as their field.
        others: Field names, keyed by the argument they are passed as.
    """
    passed = {**{name: name for name in same}, **others}
    try:
        yield
    except GuideGymError as error:
        field = passed.get(error.argument or "")
        if field is None or getattr(settings, field) is None:
            raise
        raise error.about(flag(field)) from error


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """The diffusion sampler given by flags."""

    steps: int | None = None
    """reverse steps (default: depends on the sampler; 15 for ddim)"""
    sampler: Annotated[
        str | None,
        Parameter(help=f"diffusion sampler: {parts('sampler')} (default: ddim)"),
    ] = None
    sampler_kwargs: Annotated[tuple[str, ...], MANY] = ()
    """further settings of the sampler, NAME=VALUE, such as snr=0.1"""
    eta: float | None = None
    """noise scale of ddim, 0 to 1 (default: 1)"""

    def make(self) -> "Sampler":
        """Return the diffusion sampler.

        Raises:
            GuideGymError: If the flags are inconsistent, or a setting is out of range.
        """
        kind = self._kind("ddim")
        return self._made(kind, self._default_steps(kind), {"eta": 1.0} if kind == "ddim" else {})

    def change(self, sampler: "Sampler") -> "Sampler | None":
        """Return a sampler with the settings that the flags change; None if they change nothing.

        Raises:
            GuideGymError: If the flags are inconsistent, or a setting is out of range.
        """
        from guidegym.diffusion import sampler_name

        if self.sampler is None and self.eta is None and not self.sampler_kwargs:
            return None
        kind = self._kind(sampler_name(sampler))
        kept = {}
        if kind == sampler_name(sampler):
            kept = {one.name: getattr(sampler, one.name) for one in fields(sampler)}  # type: ignore[arg-type]
            del kept["num_steps"]
        return self._made(kind, sampler.num_steps, kept)

    def _kind(self, default: str) -> str:
        # Looked up here, once the flags are validated: it imports torch, which takes seconds.
        kind = default if self.sampler is None else self.sampler
        find("sampler", kind)
        return kind

    def _default_steps(self, kind: str) -> int:
        return STEPS.get(kind) or int(find("sampler", kind)().num_steps)

    def _made(self, kind: str, steps: int, kept: Mapping[str, Any]) -> "Sampler":
        """Return the sampler of a kind, with settings from the flags and otherwise from ``kept``."""
        from guidegym.diffusion import make_sampler

        if kind != "ddim" and self.eta is not None:
            raise GuideGymError(f"belongs to ddim, got {self.eta} with {kind}", argument="--eta")
        pairs = parse_pairs(self.sampler_kwargs, "--sampler-kwargs")
        if self.eta is not None and "eta" in pairs:
            raise GuideGymError("`--eta` and `--sampler-kwargs eta` set the same value: give one of them")
        eta = {} if self.eta is None else {"eta": self.eta}
        with naming_flags(self, "eta", num_steps="steps"):
            return make_sampler({"kind": kind, **kept, **eta, **pairs}, steps if self.steps is None else self.steps)


def check_device(name: str | None) -> "torch.device":
    """Return the device of that name; by default the GPU if there is one.

    Raises:
        GuideGymError: If torch cannot use it on this machine.
    """
    import torch  # here, once the flags are validated: the import takes seconds

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).cpu()  # the noise is drawn in float64
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise GuideGymError(
            f"must be one that torch can use on this machine, got {name!r}: {reason}", argument="--device"
        ) from error
    return device
