"""How each network of the fashion testbed is trained: architecture, loss and budget, one record a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from guidegym.metrics.accuracy import accuracy, noisy_accuracy, robust_accuracy
from guidegym.networks import Judge, RobustClassifier, TimeDependentClassifier, UNet
from guidegym.testbeds.fashion import CLASS_NAMES, PROCESS
from guidegym.training.loop import LoopSettings
from guidegym.training.losses import (
    Loss,
    adversarial_cross_entropy,
    conditional_noise_prediction,
    noise_prediction,
    noisy_cross_entropy,
    shifted_cross_entropy,
)

Budget = Literal["small", "full"]
Evaluation = Callable[[nn.Module, Tensor, Tensor], dict[str, float]]
"""``(network, test images in [-1, 1], test labels) -> measured figures``."""


ROBUST_RADIUS = 2.0
"""L2 training radius of the robust classifier in units of [-1, 1] images (1.0 where images are in [0, 1])."""

LABEL_DROPOUT = 0.15
"""Share of the rows whose label the conditional denoiser is not told."""


@dataclass(frozen=True)
class Recipe:
    """What is built, what it minimises, for how long, and what it is measured by afterwards.

    Args:
        build: Makes the network, freshly initialised.
        loss: What is minimised.
        budgets: Loop settings by budget: ``small`` for two CPU cores, ``full`` for an accelerator.
        evaluate: Figures for the weight file's metadata.
        describe: Settings of the recipe that are not in the loop settings.
    """

    build: Callable[[], nn.Module]
    loss: Loss
    budgets: Mapping[Budget, LoopSettings]
    evaluate: Evaluation
    describe: Mapping[str, Any]
    start_from: str | None = None
    """Recipe whose trained network's weights it starts from, as far as it has them."""


def _evaluate_denoiser(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """A denoiser is measured by its samples, which the model card reports; nothing is measured here."""
    return {}


def _evaluate_timed(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    figures = {"test_accuracy": accuracy(network, images, labels, timed=True)}
    for timestep in (250, 500, 750):
        figures[f"test_accuracy_t{timestep}"] = noisy_accuracy(
            network, images, labels, process=PROCESS, timestep=timestep
        )
    return figures


def _evaluate_robust(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "test_accuracy": accuracy(network, images, labels),
        "robust_accuracy_pgd20": robust_accuracy(network, images, labels, radius=ROBUST_RADIUS),
        "robust_radius_l2": ROBUST_RADIUS,
    }


def _evaluate_judge(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    return {"test_accuracy": accuracy(network, images, labels)}


FASHION: Mapping[str, Recipe] = {
    "judge": Recipe(
        build=lambda: Judge(channels=(32, 64, 128)),
        loss=shifted_cross_entropy(shift=2, smoothing=0.05),
        budgets={
            "small": LoopSettings(num_steps=3_750, batch_size=128, learning_rate=3e-3, weight_decay=0.02),
            "full": LoopSettings(num_steps=14_000, batch_size=128, learning_rate=3e-3, weight_decay=0.05),
        },
        evaluate=_evaluate_judge,
        describe={"loss": "cross-entropy, label smoothing 0.05, shifts of up to 2 pixels"},
    ),
    "robust": Recipe(
        build=lambda: RobustClassifier(channels=(48, 96)),
        loss=adversarial_cross_entropy(radius=ROBUST_RADIUS, num_steps=5),
        budgets={
            "small": LoopSettings(
                num_steps=2_340, batch_size=128, learning_rate=2e-3, weight_decay=0.01, ema_decay=0.99
            ),
            "full": LoopSettings(
                num_steps=14_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999
            ),
        },
        evaluate=_evaluate_robust,
        describe={"loss": f"cross-entropy under 5-step L2 PGD, radius {ROBUST_RADIUS} in units of [-1, 1]"},
    ),
    "time_dependent": Recipe(
        build=lambda: TimeDependentClassifier(channels=(48, 96)),
        loss=noisy_cross_entropy(PROCESS),
        budgets={
            "small": LoopSettings(
                num_steps=4_680, batch_size=128, learning_rate=2e-3, weight_decay=0.01, ema_decay=0.995
            ),
            "full": LoopSettings(
                num_steps=28_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999
            ),
        },
        evaluate=_evaluate_timed,
        describe={"loss": "cross-entropy on noisy images, t uniform", "process": "cosine, T = 1000"},
    ),
    "denoiser": Recipe(
        build=lambda: UNet(channels=(64, 128), blocks=2),
        loss=noise_prediction(PROCESS),
        budgets={
            "small": LoopSettings(num_steps=9_400, batch_size=64, learning_rate=1e-3, ema_decay=0.999),
            "full": LoopSettings(num_steps=60_000, batch_size=256, learning_rate=1e-3, ema_decay=0.9995),
        },
        evaluate=_evaluate_denoiser,
        describe={"loss": "mean squared error of the noise, t uniform", "process": "cosine, T = 1000"},
    ),
    "conditional": Recipe(
        build=lambda: UNet(channels=(64, 128), blocks=2, num_classes=len(CLASS_NAMES)),
        loss=conditional_noise_prediction(PROCESS, dropout=LABEL_DROPOUT),
        budgets={
            "small": LoopSettings(num_steps=3_750, batch_size=64, learning_rate=5e-4, ema_decay=0.998),
            "full": LoopSettings(num_steps=30_000, batch_size=256, learning_rate=5e-4, ema_decay=0.9995),
        },
        evaluate=_evaluate_denoiser,
        describe={
            "loss": f"mean squared error of the noise, t uniform, {LABEL_DROPOUT:.0%} of the labels dropped",
            "process": "cosine, T = 1000",
            "starts_from": "denoiser",
        },
        start_from="denoiser",
    ),
}
"""The recipes in the order they are run; the judge is first because the references are its features."""
