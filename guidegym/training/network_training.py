"""Training of one network of a testbed, from its recipe to its weight file."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from guidegym.errors import DataNotFoundError
from guidegym.metrics.accuracy import accuracy, noisy_accuracy, robust_accuracy
from guidegym.metrics.score_errors import mean_score_error
from guidegym.networks import MaxMahalanobisClassifier, TimeDependentClassifier, UNet, load_network, save_network
from guidegym.networks.judges import BaseJudge
from guidegym.networks.noise_levels import process_name
from guidegym.support.files import only_one
from guidegym.support.settings import plain_fields
from guidegym.testbeds import IMAGE_SETS
from guidegym.testbeds.image_data import ImageData, hide_labels, to_unit_range
from guidegym.testbeds.images import ImageSet
from guidegym.testbeds.references import file_digest
from guidegym.training.loss import UNKNOWN, DivergedError
from guidegym.training.mixtures import estimate_variance
from guidegym.training.recipe import Recipe
from guidegym.training.recipes import recipes_for
from guidegym.training.sizes import SIZES, Budget, size_for
from guidegym.training.train import Pool, TrainingResult, TrainingRun, seed_for, train

ATTACK_RADIUS = 2.0
"""L2 radius of the attack in the evaluation of clean-image guides, in units of [-1, 1] images."""
ATTACKED = 1000
"""Number of attacked test images."""

SCORED = 500
"""Number of test images for the error of a classifier's own score."""


@functools.lru_cache(maxsize=1)
def _loaded(images: ImageSet, folder: Path | None) -> ImageData:
    return images.load(folder)


@dataclass(frozen=True)
class TrainingTask:
    """The settings for training the networks of a testbed; small enough to send to another process.

    Args:
        testbed: Name of the testbed.
        folder: Folder of its data; None for the default locations.
        budget: The budget of each recipe.
        labels: Share of the labels that training uses, in (0, 1].
        weight: Weight of the loss term added to cross-entropy; None for each recipe's own.
        out: Folder of the weight files and checkpoints.
        device: Device to train on.
        seed: Seed of everything random.
        own: The images, if they are a user's own.
        num_steps: Optimiser steps of every recipe; None for those of the budget.
    """

    testbed: str
    folder: Path | None
    budget: Budget
    labels: float
    weight: float | None
    out: Path
    device: torch.device
    seed: int
    own: ImageSet | None = None
    num_steps: int | None = None

    def __post_init__(self) -> None:
        plain_fields(self)

    @property
    def images(self) -> ImageSet:
        """The testbed's parts other than its networks."""
        return IMAGE_SETS[self.testbed] if self.own is None else self.own

    @property
    def data(self) -> ImageData:
        """Its images, read once per process."""
        return _loaded(self.images, self.folder)

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """The testbed's recipes by name."""
        images = self.images
        size = SIZES[images.name] if self.own is None else size_for(images.event_shape)
        recipes = recipes_for(images, size, budget=self.budget, weight=self.weight, num_steps=self.num_steps)
        return {name: recipe for name, recipe in recipes.items() if not images.networks or name in images.networks}

    def file(self, name: str) -> Path:
        """Return the weight file of a recipe: its name, and the percentage of labels if not all are used."""
        suffix = "" if self.labels == 1 else f"-{100 * self.labels:g}"
        return self.out / f"{name}{suffix}.safetensors"


def _pools(task: TrainingTask, recipe: Recipe) -> list[Pool]:
    """Return the pools that a recipe's batches come from."""
    data, device = task.data, task.device
    told = hide_labels(data.train_labels, task.labels, num_classes=task.images.num_classes, seed=task.seed)
    everything = Pool(data.train_images.to(device), torch.full_like(told, UNKNOWN).to(device))
    if recipe.batches == "all":
        return [everything]
    known = told != UNKNOWN
    labelled = Pool(data.train_images[known].to(device), told[known].to(device))
    return [labelled] if recipe.batches == "labelled" else [labelled, everything]


def _needed(task: TrainingTask, recipe: Recipe) -> dict[str, nn.Module]:
    """Return the trained networks that a recipe needs."""
    for name in recipe.needs:
        if not (task.out / f"{name}.safetensors").is_file():
            raise DataNotFoundError(f"it needs {task.out / f'{name}.safetensors'}; train {name} into {task.out} first")
    return {name: load_network(task.out / f"{name}.safetensors", device=task.device) for name in recipe.needs}


def _figures(network: nn.Module, task: TrainingTask) -> dict[str, float]:
    """Return a network's metrics on the test set; denoisers are evaluated elsewhere, by their samples."""
    if isinstance(network, UNet):
        return {}
    x, labels = to_unit_range(task.data.test_images).to(task.device), task.data.test_labels.to(task.device)
    figures = {"test_accuracy": accuracy(network, x, labels)}
    if isinstance(network, TimeDependentClassifier):
        for timestep in (250, 500, 750):
            figures[f"test_accuracy_t{timestep}"] = noisy_accuracy(
                network, x, labels, process=task.images.process, timestep=timestep
            )
        figures["score_error"] = mean_score_error(network, x[:SCORED], process=task.images.process)
    elif not isinstance(network, BaseJudge):
        figures["robust_accuracy_pgd20"] = robust_accuracy(
            network, x[:ATTACKED], labels[:ATTACKED], radius=ATTACK_RADIUS
        )
        figures["robust_radius_l2"] = ATTACK_RADIUS
    return figures


def _save(name: str, recipe: Recipe, task: TrainingTask, result: TrainingResult, said: dict[str, Any]) -> str:
    """Measure a trained network in half precision, as saved, write its file, and return a line about it."""
    network = result.network.to(task.device)
    if isinstance(network, MaxMahalanobisClassifier):
        known = _pools(task, recipe)[0]
        said["variance"] = estimate_variance(network, to_unit_range(known.images), known.labels)
    shipped = network.half().float()
    settings = recipe.settings
    metadata: dict[str, Any] = {
        "testbed": task.testbed,
        "recipe": name,
        "budget": task.budget,
        "loss": recipe.says,
        **({} if recipe.weight is None else {"loss_weight": recipe.weight}),
        **recipe.about,
        "labels": task.labels,
        "process": f"{process_name(task.images.process)}, T = {len(task.images.process.grid())}",
        "seed": task.seed,
        "data_sha256": task.data.digest,
        "steps": result.num_steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "final_loss": round(result.final_loss, 6),
        **said,
        **{key: round(value, 4) for key, value in _figures(shipped, task).items()},
    }
    save_network(shipped, task.file(name), metadata=metadata, dtype=torch.float16)
    figures = {
        key: value for key, value in metadata.items() if key in ("final_loss", "score_error") or "accuracy" in key
    }
    return f"{task.file(name)}: " + ", ".join(f"{key} {value:g}" for key, value in figures.items())


def train_network(name: str, task: TrainingTask, *, show_bar: bool = True) -> str:
    """Train one network, measure it on the test set, write its weight file, and return a line about it.

    Raises:
        DataNotFoundError: If a network that it needs has not been trained.
        DivergedError: If the training diverged; its last good weights are still written.
        KeyboardInterrupt: After Ctrl-C or ``SIGTERM``, once its checkpoint is written.
    """
    recipe = task.recipes[name]
    needed, settings = _needed(task, recipe), recipe.settings
    torch.manual_seed(seed_for(task.seed, name, "initialisation"))
    network = recipe.build()
    parents = [file_digest(task.out / f"{parent}.safetensors") for parent in recipe.needs]
    run = TrainingRun(
        network,
        recipe.loss(needed),
        settings,
        checkpoint=task.out / "checkpoints" / f"{task.file(name).stem}-{task.budget}.pt",
        seed=task.seed,
        device=task.device,
        identity={
            "recipe": name,
            "labels": task.labels,
            "data": task.data.digest,
            "loss": recipe.says,
            **recipe.about,
            "network": network.config,
            "needs": parents,
        },
    )
    lock = task.out / "checkpoints" / f".{task.file(name).stem}.lock"
    try:
        with only_one(lock, busy=f"{task.file(name).stem} is being trained in {task.out} by another process"):
            result = train(run, *_pools(task, recipe), name=task.file(name).stem, show_bar=show_bar)
    except DivergedError:
        if run.step:
            print(_save(name, recipe, task, run.result(), {"diverged": True}))
        raise
    return _save(name, recipe, task, result, {})
