"""Train classifiers on points of the Gaussian mixture and compare their gradients with the true ones (CG-SC, Table 1).

    python benchmarks/calibration_toy.py [--seeds 3] [--points 200] [--steps 3000]

All classifiers are the same small network on the same few points; only the loss differs. Truth is the mixture in closed form,
on a grid over the plane, at a low noise level. The result goes to ``benchmarks/results/calibration-toy.json``.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guidegym.metrics.gradients import gradient_quality, log_likelihood_gradient
from guidegym.networks.blocks import TimestepEmbedding
from guidegym.testbeds.gaussians import LINEAR, GaussianMixture
from guidegym.training.cross_entropy import noisy_cross_entropy
from guidegym.training.dlsm import denoising_likelihood_score_matching
from guidegym.training.energy_based import TimedJointEnergyLoss
from guidegym.training.loss import Loss
from guidegym.training.replay import ReplayBuffer
from guidegym.training.self_calibration import self_calibrated

RESULT = Path(__file__).parent / "results" / "calibration-toy.json"
LEVEL = 20
"""Timestep at which gradients are compared: the paper's smallest is 0, where a network is asked between the points' noise."""
MIXTURE = GaussianMixture(LINEAR, dtype=torch.float32, device=torch.device("cpu"))


class PlaneClassifier(nn.Module):
    """A small time-dependent classifier of points in the plane."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embed = TimestepEmbedding(16, width)
        self.enter = nn.Linear(2, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the logits of points ``x`` at timesteps ``t``."""
        hidden, embedding = self.enter(x), self.embed(t)
        for layer in self.hidden:
            hidden = hidden + layer(nn.functional.silu(hidden + embedding))
        logits: Tensor = self.head(nn.functional.silu(hidden))
        return logits


METHODS: dict[str, Callable[[], Loss]] = {
    "CE": lambda: noisy_cross_entropy(LINEAR),
    "DLSM": lambda: denoising_likelihood_score_matching(LINEAR, MIXTURE.noise),
    "JEM": lambda: TimedJointEnergyLoss(LINEAR, ReplayBuffer((2,), size=2000, restart=0.05, gaussian=True), weight=0.5),
    "SC": lambda: self_calibrated(LINEAR, weight=10.0),
}


def train(loss: Loss, points: Tensor, labels: Tensor, *, steps: int, seed: int) -> nn.Module:
    """Train one classifier on all points at once."""
    torch.manual_seed(seed)
    network, generator = PlaneClassifier(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(network, points, labels, generator).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def quality(network: nn.Module) -> dict[str, float]:
    """Return the gradients' quality over a grid that covers the data, for both classes."""
    axis = torch.arange(-2.5, 2.51, 0.1)
    grid = torch.cartesian_prod(axis, axis).repeat(2, 1)
    labels = torch.arange(2).repeat_interleave(len(grid) // 2)
    t = torch.full((len(grid),), float(LEVEL))
    found = gradient_quality(
        log_likelihood_gradient(network, grid, t, labels),
        log_likelihood_gradient(MIXTURE.logits, grid, t, labels),
        MIXTURE.score(grid, t),
    )
    return vars(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for seed in range(arguments.seeds):
        labels = torch.arange(arguments.points) % 2
        points = MIXTURE.sample(labels, torch.Generator().manual_seed(seed))
        for name, make in METHODS.items():
            found[name].append(quality(train(make(), points, labels, steps=arguments.steps, seed=seed)))
            print(seed, name, {key: round(value, 4) for key, value in found[name][-1].items()}, flush=True)
    result: dict[str, Any] = {**vars(arguments), "level": LEVEL, "methods": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(
        "| method | gradient MSE | cosine | scaled MSE | score cosine | scaled |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, rows in found.items():
        means = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
        shown = [means[key] for key in ("mse", "cosine", "scaled_mse", "score_cosine", "scaled_score_cosine")]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in shown) + " |")


if __name__ == "__main__":
    main()
