"""Testbeds of a variance-preserving process under a variance-exploding one: the same networks, by a change of variables."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import VEProcess, VPProcess, rows_like, vp_timesteps
from guidegym.errors import GuideGymError
from guidegym.testbeds.testbed import Testbed


class UnderVE:
    r"""A network of a VP process, used under VE.

    The two processes differ by a factor: :math:`x^{VP} = x^{VE} / \sqrt{1 + \sigma^2}` at the timestep of the same noise level,
    with the same noise :math:`\epsilon` in both. Predicted noise and logits are then the same, and gradients with
    respect to :math:`x^{VE}` follow by the chain rule.

    Args:
        network: The network, ``(x, t, ...)``; defined at whole timesteps only if in closed form, or also between them.
        ve: The process it is used under.
        vp: The process it was trained on.
    """

    def __init__(self, network: Callable[..., Tensor], ve: VEProcess, vp: VPProcess) -> None:
        self.network, self.ve, self.vp = network, ve, vp

    def __call__(
        self, x: Float[Tensor, " batch *event"], t: Float[Tensor, " batch"], *further: Any
    ) -> Float[Tensor, " batch ..."]:
        """Evaluate the network on rows of the VE process at its timesteps."""
        step = t.long()
        size = (1 + self.ve.sigma(step, torch.float64).square()).sqrt().to(x.dtype)
        at = vp_timesteps(self.ve, self.vp, x.device)[step + 1].to(t.dtype)
        return self.network(x / rows_like(size, x), at, *further)


def variance_exploding(testbed: Testbed, process: VEProcess | None = None) -> Testbed:
    """Return a testbed under a variance-exploding process: the same networks, judge and references.

    Args:
        testbed: A testbed of a VP process.
        process: The VE process, whose noise levels should lie within those of the testbed's process; by default from 0.01 to 50.

    Raises:
        GuideGymError: If the testbed's process is not VP.
    """
    vp, ve = testbed.process, process if process is not None else VEProcess()
    if not isinstance(vp, VPProcess):
        raise GuideGymError(f"testbed '{testbed.name}' must have a VPProcess, got {type(vp).__name__}")
    return replace(
        testbed,
        name=f"{testbed.name}-ve",
        process=ve,
        denoiser=UnderVE(testbed.denoiser, ve, vp),
        classifiers={name: UnderVE(classify, ve, vp) for name, classify in testbed.classifiers.items()},
        conditionals={name: UnderVE(predict, ve, vp) for name, predict in testbed.conditionals.items()},
    )
