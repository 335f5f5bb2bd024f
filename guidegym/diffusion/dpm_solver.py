"""DPM-Solver++, second order, multistep."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion.estimates import guided_estimate
from guidegym.diffusion.process import noise_ratio, rows_like
from guidegym.diffusion.sampler import Memory, OdeSampler, Reverse, Step
from guidegym.registry import register


@register("sampler", "dpm_solver_pp")
@dataclass(frozen=True)
class DPMSolverPP(OdeSampler):
    r"""DPM-Solver++(2M): deterministic, of second order, one evaluation per step.

    With :math:`\lambda_t = \log(\alpha_t / \sigma_t)` (here :math:`\alpha_t = \sqrt{\bar\alpha_t}`), the step
    :math:`h = \lambda_{t'} - \lambda_t`, the previous one :math:`h_-`, and :math:`r = h_- / h`,

    .. math::
        x_{t'} = \frac{\sigma_{t'}}{\sigma_t} x_t - \alpha_{t'} (e^{-h} - 1) D, \quad
        D = \Big(1 + \frac{1}{2r}\Big) \hat x_0(x_t) - \frac{1}{2r} \hat x_0^{-}

    with the clean estimate :math:`\hat x_0^-` of the previous step. The first step, and the last one to the clean end, where
    ``h`` is infinite, are of first order: :math:`D = \hat x_0`.

    Args:
        num_steps: Number of reverse steps, one network evaluation each.

    Source:
        Lu et al. 2022b, Algorithm 2.
    """

    num_steps: int = 20

    def init(self, x: Float[Tensor, " batch *event"]) -> Memory:
        """Return zeros for the previous estimate and noise level of each row: there are none yet."""
        return {"x_0": torch.zeros_like(x), "level": torch.zeros(len(x), dtype=torch.float64, device=x.device)}

    def step(self, step: Step) -> Reverse:
        """Take one reverse step; see ``Sampler.step``."""
        x, process, before = step.x, step.process, step.memory["level"]
        estimate, _ = guided_estimate(step)
        level = noise_ratio(process, step.t)
        lam, lam_next, lam_before = (-one.log() for one in (level, noise_ratio(process, step.t_next), before))
        h = lam_next - lam  # infinite at the clean end, where exp(-h) is 0
        looks_back = (before > 0) & ~step.ends
        ratio = torch.where(looks_back, h / (2 * (lam - lam_before)), 0.0)
        bent = rows_like(ratio.to(x), x)
        direction = (1 + bent) * estimate - bent * step.memory["x_0"]
        signal_next = process.alpha_bar(step.t_next, x.dtype).sqrt()
        kept = process.sigma(step.t_next, x.dtype) / process.sigma(step.t, x.dtype)
        pull = signal_next * -torch.expm1(-h).to(x)
        moved = rows_like(kept, x) * x + rows_like(pull, x) * direction
        return Reverse(moved, estimate, {"x_0": estimate, "level": level})
