"""Schedules found under one noise process, for use under another."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from guidegym.diffusion import FlowProcess, Process, noise_ratio
from guidegym.guidance.schedules import Schedule
from guidegym.registry import register


@register("schedule", "carried")
@dataclass(frozen=True)
class Carried:
    r"""A schedule that was found under another process: its weights at equal noise levels :math:`\sigma_t / a_t`.

    The other process's time of that level is interpolated, in the logarithm of the level, between those of its grid, and is a
    whole number where its times are; beyond the grid's ends it is that of the end. Carried from ``FlowProcess()``, whose times
    are :math:`\sigma / (a + \sigma)`, a schedule is a function of the noise level alone.

    Args:
        schedule: The schedule.
        process: The process that it was found under.
    """

    schedule: Schedule
    process: Process

    def __call__(self, t: Shaped[Tensor, " steps"], process: Process) -> Float[Tensor, " steps"]:
        """Return the float64 weights at times ``t`` of another process."""
        grid = self.process.grid()
        levels, wanted = noise_ratio(self.process, grid).log(), noise_ratio(process, t.cpu()).log()
        above = torch.searchsorted(levels, wanted).clamp(max=len(levels) - 1)
        below = (above - 1).clamp(min=0)
        gap = levels[above] - levels[below]
        # At an infinite level, and at and beyond the ends, there is nothing to interpolate.
        share = ((wanted - levels[below]) / gap).nan_to_num(1.0).clamp(0, 1).where(gap.isfinite() & (gap > 0), 1.0)
        found = torch.lerp(grid[below].double(), grid[above].double(), share)
        found = found if grid.is_floating_point() else found.round().long()
        return self.schedule(found, self.process).to(t.device)


def same_times(one: Process, other: Process) -> bool:
    """Return whether equal times of two processes are equal noise levels, at equal places of the chain."""
    flows = isinstance(one, FlowProcess) and isinstance(other, FlowProcess)
    return flows or one == other
