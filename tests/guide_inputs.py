"""Asking a guide about rows, for tests."""

from typing import Any

import torch

from guidegym import Testbed
from guidegym.guidance import DENOISER, BaseModel, GuideInput
from guidegym.testbeds.gaussians import GaussianMixture

T = torch.tensor([0, 200, 600, 999])


def mixture_of(testbed: Any) -> GaussianMixture:
    """Return the closed form behind a gaussians testbed."""
    mixture: GaussianMixture = testbed.judge.mixture
    return mixture


def points(num: int = 4, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ask(
    testbed: Testbed,
    x: torch.Tensor,
    t: torch.Tensor,
    target: torch.Tensor,
    *,
    label: torch.Tensor | None = None,
    score: BaseModel = DENOISER,
    memory: torch.Tensor | None = None,
) -> GuideInput:
    """Return what an engine asks, the noise not known."""
    label = target.argmax(dim=1) if label is None else label
    return GuideInput(testbed, x, t, target, label, score, memory=memory)


def class_score(mixture: GaussianMixture, x: torch.Tensor, t: torch.Tensor, label: int) -> torch.Tensor:
    """The score of p_t(x | y) in closed form, one row at a time in plain loops."""
    rows = []
    for point, step in zip(x, t, strict=True):
        alpha_bar = mixture.process.alpha_bar(step[None], torch.float64)[0]
        sigma = mixture.process.sigma(step[None], torch.float64)[0]
        density = torch.zeros((), dtype=torch.float64)
        slope = torch.zeros(2, dtype=torch.float64)
        for mean, spread, share in zip(
            mixture.means[label], mixture.spreads[label], mixture.shares[label], strict=True
        ):
            variance = alpha_bar * spread**2 + sigma**2
            offset = point - alpha_bar.sqrt() * mean
            value = share * torch.exp(-(offset @ offset) / (2 * variance)) / (2 * torch.pi * variance)
            density += value
            slope += value * -offset / variance
        rows.append(slope / density)
    return torch.stack(rows)
