"""The sampling loops of EDM and guided-diffusion, written plainly: neither is a package, so there is nothing to install."""

import itertools
import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Draw: TypeAlias = Callable[[int], Tensor]
"""The noise of a step, by its number."""
Network: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def edm_sampler(
    denoise: Network,
    noise: Tensor,
    levels: Tensor,
    draw: Draw | None = None,
    *,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = math.inf,
    churn_noise: float = 1.0,
) -> Tensor:
    """Sample by Heun's method with churn.

    Source:
        Karras et al. 2022, Algorithm 2.
    """
    x = levels[0].to(noise) * noise
    steps = len(levels) - 1
    # Read once: a comparison of a level on the device would wait for it at every step.
    for number, (now, then) in enumerate(itertools.pairwise(levels.tolist())):
        gamma = min(churn / steps, math.sqrt(2) - 1) if churn_min <= now <= churn_max else 0.0
        there = now * (1 + gamma)
        if gamma > 0:
            fresh = torch.randn_like(x) if draw is None else draw(number)
            x = x + math.sqrt(there**2 - now**2) * churn_noise * fresh
        slope = (x - denoise(x, _rows(x, there))) / there
        after = x + (then - there) * slope
        if then > 0:
            again = (after - denoise(after, _rows(x, then))) / then
            after = x + (then - there) * (slope + again) / 2
        x = after
    return x


def _rows(x: Tensor, value: float) -> Tensor:
    """Return a value for each row."""
    return torch.full((len(x),), value, dtype=torch.float64, device=x.device)


class _Tables:
    """The coefficients of a respaced diffusion, in single precision as published."""

    def __init__(self, alpha_bars: Tensor, times: Tensor) -> None:
        here = alpha_bars[times.flip(0)]
        before = torch.cat([torch.ones_like(here[:1]), here[:-1]])
        beta = 1 - here / before
        variance = beta * (1 - before) / (1 - here)
        self.here, self.before = here.float(), before.float()
        self.log_beta = beta.log().float()
        # The first posterior variance is 0: the second takes its place in the logarithm.
        self.log_variance = torch.cat([variance[1:2], variance[1:]]).log().float()
        self.of_clean = (beta * before.sqrt() / (1 - here)).float()
        self.of_noisy = ((1 - before) * (1 - beta).sqrt() / (1 - here)).float()

    def clean(self, x: Tensor, eps: Tensor, index: int) -> Tensor:
        """Return the clean estimate."""
        return (x - (1 - self.here[index]).sqrt() * eps) / self.here[index].sqrt()

    def eps(self, x: Tensor, clean: Tensor, index: int) -> Tensor:
        """Return the noise of a clean estimate."""
        return (x - self.here[index].sqrt() * clean) / (1 - self.here[index]).sqrt()


@torch.no_grad()
def p_sample_loop(
    network: Network, cond_fn: Network, noise: Tensor, times: Tensor, alpha_bars: Tensor, draw: Draw | None = None
) -> Tensor:
    """Sample ancestrally with learned variances, guided in the mean.

    Source:
        Dhariwal and Nichol 2021, Algorithm 1; guided-diffusion, ``GaussianDiffusion.p_sample_loop``.
    """
    tables, x = _Tables(alpha_bars, times), noise
    for number, t in enumerate(times):
        index, rows = len(times) - 1 - number, t.float().expand(len(x))
        eps, learned = network(x, rows).chunk(2, dim=1)
        share = (learned + 1) / 2
        log_variance = share * tables.log_beta[index] + (1 - share) * tables.log_variance[index]
        clean = tables.clean(x, eps, index).clamp(-1, 1)
        mean = tables.of_clean[index] * clean + tables.of_noisy[index] * x
        mean = mean + log_variance.exp() * cond_fn(x, rows)
        fresh = torch.randn_like(x) if draw is None else draw(number)
        x = mean + (index > 0) * (log_variance / 2).exp() * fresh
    return x


@torch.no_grad()
def ddim_sample_loop(
    network: Network, cond_fn: Network, noise: Tensor, times: Tensor, alpha_bars: Tensor, _: Draw | None = None
) -> Tensor:
    """Sample by DDIM with ``eta`` 0, guided in the noise.

    Source:
        Dhariwal and Nichol 2021, Algorithm 2; guided-diffusion, ``GaussianDiffusion.ddim_sample_loop``.
    """
    tables, x = _Tables(alpha_bars, times), noise
    for number, t in enumerate(times):
        index, rows = len(times) - 1 - number, t.float().expand(len(x))
        eps, _learned = network(x, rows).chunk(2, dim=1)
        clean = tables.clean(x, eps, index).clamp(-1, 1)
        eps = tables.eps(x, clean, index) - (1 - tables.here[index]).sqrt() * cond_fn(x, rows)
        clean = tables.clean(x, eps, index)
        x = clean * tables.before[index].sqrt() + (1 - tables.before[index]).sqrt() * eps
    return x
