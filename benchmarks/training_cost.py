"""Measure what a training step of each recipe costs beside plain cross-entropy, all in one run.

    python benchmarks/training_cost.py [--testbed fashion] [--device cpu] [--rounds 5] [--steps 2]

All recipes take turns within each round, at the same batch size, and ratios are taken within a round. Networks start from shipped
weights and see real images, as attacks that stop once they have fooled would otherwise stop at once; the joint recipe is measured
in its generative phase. The result goes to
``benchmarks/results/DATE-training-cost-TESTBED-DEVICE.json``.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch
from speed import machine, seconds
from torch import nn

from guidegym.networks import load_network
from guidegym.testbeds import IMAGE_SETS
from guidegym.testbeds.images import ImageSet
from guidegym.training.loss import Loss
from guidegym.training.mixtures import GenerativeMaxMahalanobis
from guidegym.training.recipes import recipes_for
from guidegym.training.sizes import SIZES
from guidegym.training.train import Pool, TrainingRun

BESIDE = {"timed": "time_dependent", "clean": "robust_r0"}
"""What recipes are held against: cross-entropy with the same kind of network."""
CLEAN = ("robust", "jem", "gmmc")


ALIKE = {
    "robust_time_linf": "robust_time", "timed_jem": "time_dependent", "self_calibrated_all": "self_calibrated",
    "gmmc_noise_injected": "gmmc_generative", "gmmc_joint": "gmmc_generative",
}  # fmt: skip
"""Whose weights stand in where a recipe's own do not ship."""


def _trained(name: str, images: ImageSet) -> nn.Module:
    """Return a network as it is in the middle of its training."""
    file = images.shipped / f"{name}.safetensors"
    return load_network(file if file.is_file() else images.shipped / f"{ALIKE[name]}.safetensors").requires_grad_(True)


def _later(loss: Loss) -> Loss:
    """Return a loss past its first phase, where it has two."""
    if isinstance(loss, GenerativeMaxMahalanobis):
        loss.pretrain = 0
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--testbed", default="fashion", choices=list(IMAGE_SETS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    device, images = torch.device(arguments.device), IMAGE_SETS[arguments.testbed]
    data = images.load(None)
    pool = Pool(
        data.train_images[: arguments.batch * 8].to(device),
        data.train_labels[: arguments.batch * 8].to(device),
    )
    needed = {"denoiser": load_network(images.shipped / "denoiser.safetensors", device=device)}
    recipes = {
        name: recipe
        for name, recipe in recipes_for(images, SIZES[images.name]).items()
        if not name.startswith(("judge", "denoiser", "conditional"))
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for name, recipe in recipes.items():
            settings = dataclasses.replace(recipe.settings, batch_size=arguments.batch)
            checkpoint = Path(folder) / f"{name}.pt"
            runs[name] = TrainingRun(
                _trained(name, images), _later(recipe.loss(needed)), settings, checkpoint=checkpoint, seed=0, device=device
            )  # fmt: skip

        def step(name: str) -> None:
            for _ in range(arguments.steps):
                runs[name].train_step([pool])

        for name in runs:
            step(name)  # warm-up
        rounds = [
            {name: seconds(functools.partial(step, name), device) for name in runs} for _ in range(arguments.rounds)
        ]
    result = {"machine": machine(device), **vars(arguments), "recipes": {}}
    for name in runs:
        beside = BESIDE["clean" if name.startswith(CLEAN) and not name.startswith("robust_time") else "timed"]
        ratios = [one[name] / one[beside] for one in rounds]
        took = statistics.median(one[name] for one in rounds) / arguments.steps
        result["recipes"][name] = {
            "seconds_a_step": took, "beside": beside, "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)
        }  # fmt: skip
        print(
            f"{name:22} {1000 * took:7.1f} ms {statistics.median(ratios):6.2f} x {beside}  [{min(ratios):.2f}, {max(ratios):.2f}]"
        )
    stem = f"{datetime.now(UTC):%Y-%m-%d}-training-cost-{images.name}-{device.type}"
    (Path(__file__).parent / "results" / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
