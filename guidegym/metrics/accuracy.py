"""Accuracy of a classifier: on clean images, on noisy ones, and under attack."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.diffusion import VPProcess
from guidegym.metrics.attacks import pgd_l2

CHUNK = 500


def _predict(network: nn.Module, x: Tensor, t: Tensor | None) -> Tensor:
    """Return the predicted classes of one chunk."""
    with torch.inference_mode():
        logits: Tensor = network(x) if t is None else network(x, t.float())
    return logits.argmax(dim=1)


def accuracy(
    network: nn.Module, images: Float[Tensor, " images *event"], labels: Int[Tensor, " images"], *, timed: bool = False
) -> float:
    """Return the share of clean images that are classified rightly; a ``timed`` network is asked at t = 0."""
    hits = 0
    for x, y in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        t = torch.zeros(len(x), dtype=torch.long, device=x.device) if timed else None
        hits += int((_predict(network, x, t) == y).sum())
    return hits / len(labels)


def noisy_accuracy(
    network: nn.Module,
    images: Float[Tensor, " images *event"],
    labels: Int[Tensor, " images"],
    *,
    process: VPProcess,
    timestep: int,
    seed: int = 0,
) -> float:
    """Return the accuracy on images noised to one training timestep."""
    generator = torch.Generator(images.device).manual_seed(seed)
    hits = 0
    for x, y in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        t = torch.full((len(x),), timestep, dtype=torch.long, device=x.device)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        hits += int((_predict(network, process.q_sample(x, t, noise=noise), t) == y).sum())
    return hits / len(labels)


def robust_accuracy(
    network: nn.Module,
    images: Float[Tensor, " images *event"],
    labels: Int[Tensor, " images"],
    *,
    radius: float,
    num_steps: int = 20,
) -> float:
    """Return the accuracy under L2 PGD of ``num_steps`` steps within ``radius``, in the units of the images."""
    hits = 0
    for x, y in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        attacked = pgd_l2(network, x, y, radius=radius, num_steps=num_steps)
        hits += int((_predict(network, attacked, None) == y).sum())
    return hits / len(labels)
