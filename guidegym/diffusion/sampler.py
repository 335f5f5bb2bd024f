"""The common interface of samplers: the rule of one reverse step, without networks."""

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from guidegym.diffusion.predicted import Predicted
from guidegym.diffusion.process import Process
from guidegym.errors import GuideGymError
from guidegym.registry import contract
from guidegym.support.settings import check_count, plain_fields

LEAST_START, GOOD_START = 0.5, 0.9
"""Shares of the starting noise's variance below which a sampler is rejected, and below which a warning is given."""


Memory: TypeAlias = Mapping[str, Tensor]
"""A solver's memory of each row, by name: one entry per row in every tensor."""
Evaluate: TypeAlias = Callable[[Tensor, Tensor, Tensor], "Step"]
"""``(rows, times, wanted rows) -> step``: the step with the prediction at other points, in one call for all rows.

Unwanted rows get meaningless numbers and cost nothing.
"""


@dataclass(frozen=True, eq=False)
class Step:
    """One reverse step to take; rows may be at different times.

    Args:
        x: Noisy rows.
        t: Time of each row.
        t_next: Target time of each row, at most ``t`` and finally the clean end. A step that stays at ``t`` is a correction.
        eps: Predicted noise at ``x``.
        process: The noise process.
        shift: Weighted gradient of the guide, added to the score; None for no guidance.
        noise: Standard normal noise of each row; None without noise or where it was added before, see ``Raising``.
        clip: Bound on the absolute value of the clean estimate; None for no bound.
        memory: The sampler's memory, as returned by ``init`` or its last step.
        evaluate: Evaluates the networks again, for rules with several evaluations; see ``Evaluate``.
        x_0: Predicted clean data, if known without division by the signal; see ``Predicted``.
        clean_shift: The shift of the clean estimate, if known without division by the signal.
        spread: The variance that the network learned; see ``Predicted``.
    """

    x: Float[Tensor, " batch *event"]
    t: Shaped[Tensor, " batch"]
    t_next: Shaped[Tensor, " batch"]
    eps: Float[Tensor, " batch *event"]
    process: Process
    shift: Float[Tensor, " batch *event"] | None = None
    noise: Float[Tensor, " batch *event"] | None = None
    clip: float | None = None
    memory: Memory = field(default_factory=dict)
    evaluate: Evaluate | None = None
    x_0: Float[Tensor, " batch *event"] | None = None
    clean_shift: Float[Tensor, " batch *event"] | None = None
    spread: Float[Tensor, " batch *event"] | None = None

    @property
    def predicted(self) -> Predicted:
        """The unguided prediction."""
        return Predicted(self.eps, self.x_0, self.spread)

    @property
    def ends(self) -> Bool[Tensor, " batch"]:
        """Which rows go to the clean end."""
        return self.t_next == self.process.clean

    @functools.cached_property
    def alpha_bar(self) -> Float[Tensor, " batch"]:
        """The share of signal variance left at ``t``, in the rows' type; like the others below, looked up once."""
        return self.process.alpha_bar(self.t, self.x.dtype)

    @functools.cached_property
    def sigma(self) -> Float[Tensor, " batch"]:
        """The standard deviation of the noise at ``t``."""
        return self.process.sigma(self.t, self.x.dtype)

    @functools.cached_property
    def alpha_bar_next(self) -> Float[Tensor, " batch"]:
        """The share of signal variance at ``t_next``."""
        return self.process.alpha_bar(self.t_next, self.x.dtype)

    @functools.cached_property
    def sigma_next(self) -> Float[Tensor, " batch"]:
        """The standard deviation of the noise at ``t_next``."""
        return self.process.sigma(self.t_next, self.x.dtype)


class Reverse(NamedTuple):
    """The result of one reverse step: the less noisy rows, their clean estimate, and the sampler's memory."""

    x_next: Float[Tensor, " batch *event"]
    x_0: Float[Tensor, " batch *event"]
    memory: Memory = MappingProxyType({})


@contract("sampler")
@runtime_checkable
class Sampler(Protocol):
    """A rule for one reverse step over some times of the process."""

    @property
    def num_steps(self) -> int:
        """Number of reverse steps."""
        ...

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise."""
        ...

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending times of the steps, followed by the clean end."""
        ...

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return the memory of rows before their first step: tensors under a fixed set of names."""
        ...

    def step(self, step: Step) -> Reverse:
        """Take one reverse step.

        A row's result must be the same alone, in a batch, and beside rows at other steps.
        """
        ...


class Raised(NamedTuple):
    """Rows to which noise was added before their step, and their times since."""

    x: Float[Tensor, " batch *event"]
    t: Shaped[Tensor, " batch"]


@runtime_checkable
class Raising(Protocol):
    """A sampler that adds noise to the rows before the networks are evaluated on them, where ``is_stochastic``."""

    def raised(
        self,
        x: Float[Tensor, " batch *event"],
        t: Shaped[Tensor, " batch"],
        noise: Float[Tensor, " batch *event"],
        process: Process,
    ) -> Raised:
        """Return rows at ``t`` with more noise, and their new times: the step starts from them, and gets no other noise."""
        ...


class WithoutMemory:
    """Base class of samplers without memory."""

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return an empty memory."""
        return {}


class Deterministic:
    """Base class of samplers that add no noise."""

    @property
    def is_stochastic(self) -> bool:
        """Whether a step adds noise: never."""
        return False


@dataclass(frozen=True)
class OdeSampler(Deterministic):
    """Base class of solvers of the probability-flow ODE on the process' grid, which start at its noisiest time.

    Args:
        num_steps: Number of reverse steps.
    """

    num_steps: int

    def __post_init__(self) -> None:
        plain_fields(self)
        check_num_steps(self.num_steps)

    def timesteps(self, process: Process) -> Shaped[Tensor, " steps_and_end"]:
        """Return the descending times, followed by the clean end."""
        return process.times(self.num_steps)


def check_num_steps(num_steps: int) -> None:
    """Check that the argument is a valid number of steps."""
    check_count("num_steps", num_steps, least=1)


def check_spacing(spacing: str) -> None:
    """Reject an unknown spacing."""
    if spacing not in ("trailing", "leading", "linspace"):
        raise GuideGymError(f"`spacing` must be 'trailing', 'leading' or 'linspace', got {spacing!r}")


def check_start(sampler: Sampler, process: Process) -> None:
    r"""Check that a sampler's first time is nearly as noisy as the start of a chain.

    Chains start from pure noise. If the first time has less noise, as with ``spacing="leading"`` and few steps, the
    network takes most of that noise for signal, and the result is noise.

    Raises:
        GuideGymError: If the noise at the first time has less than half the variance of a chain's start.
    """
    first = sampler.timesteps(process)[:1]
    share = (float(process.sigma(first, torch.float64)) / process.prior_std) ** 2
    said = f"starts at time {first.item():g}, where the noise has {share:.2g} of the variance at the start of a chain"
    if share < LEAST_START:
        raise GuideGymError(f"`sampler` {said}: take more steps, or spacing 'trailing'")
    if share < GOOD_START:
        warnings.warn(f"the sampler {said}: samples will be degraded; take more steps", UserWarning, stacklevel=4)


def check_memory(sampler: Sampler, memory: Memory, x: Float[Tensor, " batch *event"]) -> None:
    """Check that rows carry the memory of this sampler, and not that of another one or of an earlier version.

    Raises:
        GuideGymError: If its names are others.
    """
    needed = sampler.init(x[:1])
    if needed.keys() != memory.keys():
        needs, got = (", ".join(sorted(names)) or "nothing" for names in (needed, memory))
        raise GuideGymError(
            f"is of another sampler: {type(sampler).__name__} keeps {needs} of each row and it has {got}; continue it with "
            "the sampler and the version that made it",
            argument="state",
        )


def shown_sampler(sampler: Any, *always: str) -> str:
    """Return a sampler's settings in words; later ones are left out at their defaults, as results are kept under these words."""
    shown = [one for one in fields(sampler) if one.name in always or getattr(sampler, one.name) != one.default]
    return f"{type(sampler).__name__}({', '.join(f'{one.name}={getattr(sampler, one.name)!r}' for one in shown)})"


def repeated_levels(num_steps: int, repeats: int, process: Process) -> Shaped[Tensor, " steps_and_end"]:
    """Return ``num_steps`` descending times, each level ``repeats`` times (the first: the remainder), and the clean end."""
    levels = process.times(-(-num_steps // repeats))
    if float(process.alpha_bar(levels[:1], torch.float64)) == 0:
        raise GuideGymError(
            "needs some signal at the first time, and this process has none there: use Euler, Heun, DPMSolverPP or DDIM",
            argument="sampler",
        )
    return torch.cat([levels[:-1].repeat_interleave(repeats)[-num_steps:], levels[-1:]])


def noise_between(
    process: Process, t: Shaped[Tensor, " batch"], t_next: Shaped[Tensor, " batch"], dtype: torch.dtype
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    r"""Return the signal kept and the noise added from ``t_next`` to ``t``: :math:`\alpha` and :math:`\beta`.

    .. math:: \alpha = \bar\alpha_t / \bar\alpha_{t'}, \quad \beta = \sigma_t^2 - \alpha \sigma_{t'}^2

    Under VP :math:`\beta = 1 - \alpha`, under VE :math:`\alpha = 1`.
    """
    alpha = process.alpha_bar(t, torch.float64) / process.alpha_bar(t_next, torch.float64)
    beta = process.sigma(t, torch.float64).square() - alpha * process.sigma(t_next, torch.float64).square()
    return alpha.to(dtype), beta.clamp_min(0).to(dtype)
