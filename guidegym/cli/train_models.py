"""``guidegym train-models``: train the networks of a testbed with this package's own recipes."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from guidegym.cli.flags import MANY, check_device, naming_flags
from guidegym.errors import GuideGymError
from guidegym.support.files import make_folder
from guidegym.support.settings import MAX_SEED, check_count, check_range, whole_number

if TYPE_CHECKING:
    from guidegym.testbeds.images import ImageSet
    from guidegym.testbeds.own_images import OwnImages
    from guidegym.training.network_training import TrainingTask
    from guidegym.training.recipe import Recipe

MODELS = Path("runs/models")
"""Folder of the folders of weights."""
MEASURED = {"references": "judge", "energies": "time_dependent"}
"""What is measured on the training images with the trained networks, and a network that it takes."""


def label_share(text: str) -> float:
    """Read a share of labels: ``5%`` or ``0.05``.

    Raises:
        GuideGymError: If the text is not a share, or not in 0 .. 1.
    """
    try:
        share = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise GuideGymError(
            f"must be a share of the labels, such as 5% or 0.05, at most 100%, got {text!r}", argument="--labels"
        )
    return round(share, 9)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainModelsSettings:
    """Settings of network training."""

    testbed: str | None = None
    """testbed of the networks: fashion, digits or another one of images, or a folder of networks for images of your own
    (default: fashion)"""
    only: Annotated[tuple[str, ...], MANY] = ()
    """networks to train (default: all; see --list)"""
    list: bool = False
    """print the networks, one line each, and train none"""
    labels: str = "100%"
    """share of the labels to use, such as 5%"""
    loss_weight: float | None = None
    """weight of the loss term added to cross-entropy (default: the recipe's)"""
    budget: Literal["small", "full"] = "small"
    """small (for two CPU cores) or full"""
    steps: int | None = None
    """optimiser steps of each network, such as 100 for a quick try (default: those of the budget)"""
    data: Path | None = None
    """folder with the four idx files of Fashion-MNIST or, with --image-size, one sub-folder of images per class"""
    image_size: int | None = None
    """train a testbed of your own on the images of --data, cropped and resized to this height and width, such as 32"""
    out: Path | None = None
    """folder for the weights (default: runs/models/TESTBED)"""
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""
    jobs: int = 1
    """networks to train in parallel, each in its own process (default 1)"""
    seed: int = 0
    """seed of everything (default: 0)"""

    def __post_init__(self) -> None:
        label_share(self.labels)
        check_count("--jobs", self.jobs, least=1)
        whole_number("--seed", self.seed, least=0, most=MAX_SEED)
        if self.steps is not None:
            check_count("--steps", self.steps, least=1)
        if self.image_size is not None and self.data is None:
            raise GuideGymError("needs `--data`, the folder of your images", argument="--image-size")
        if self.image_size is not None and self.testbed is not None:
            raise GuideGymError(
                f"makes a testbed of your own: leave out `--testbed`, got {self.testbed!r}", argument="--image-size"
            )
        if self.loss_weight is not None:
            check_range("--loss-weight", self.loss_weight, least=0)


DEFAULTS = TrainModelsSettings()


def train_models(settings: TrainModelsSettings = DEFAULTS) -> int:
    """Train the networks of a testbed with this package's own recipes."""
    # Imported here and below, once the flags are validated: importing torch takes seconds.
    from guidegym.testbeds.images import build_energies, build_references

    own = _own_images(settings)
    task = _task(settings, own)
    recipes = task.recipes
    names = _names(settings, recipes)
    if settings.list:
        width = max(map(len, recipes))
        print("\n".join(f"{name:{width}}  {recipe.says}" for name, recipe in recipes.items() if name in names))
        return 0
    if settings.loss_weight is not None:
        _check_weighted(names, recipes)
    if task.labels < 1:
        names = _told(names, recipes, named=bool(settings.only))
    data = task.data
    if own is not None:
        _check_batches(names, recipes, len(data.train_images))
    make_folder(task.out)
    if own is not None:
        own.save(task.out, data)
    _train([name for name in names if name in recipes], task, settings.jobs)
    if "references" in names:
        print(f"references: {build_references(task.images, task.out, data, device=task.device)}")
    if "energies" in names:
        print(f"energies: {build_energies(task.images, task.out, data, device=task.device)}")
    return 0


def _own_images(settings: TrainModelsSettings) -> "OwnImages | None":
    """Return the user's own images, of a folder of images or of one with networks trained on some; None for other testbeds."""
    from guidegym.testbeds.own_images import names_folder, own_images, read_record

    if settings.data is not None and settings.image_size is not None:
        with naming_flags(settings, "image_size", folder="data"):
            own = own_images(settings.data, settings.image_size)
        return own.begun_in(settings.out or MODELS / own.name)
    if settings.testbed is None or settings.testbed in _shipped() or not names_folder(settings.testbed):
        return None
    own = read_record(Path(settings.testbed))
    return own if settings.data is None else replace(own, folder=settings.data)


def _shipped() -> "Mapping[str, ImageSet]":
    from guidegym.testbeds import IMAGE_SETS

    return IMAGE_SETS


def _task(settings: TrainModelsSettings, own: "OwnImages | None") -> "TrainingTask":
    """Return what to train."""
    from guidegym.training.network_training import TrainingTask

    name = own.name if own is not None else settings.testbed or "fashion"
    if own is None and name not in _shipped():
        raise GuideGymError(f"must be one of {', '.join(_shipped())}, got {name!r}", argument="--testbed")
    return TrainingTask(
        name,
        settings.data,
        settings.budget,
        label_share(settings.labels),
        settings.loss_weight,
        settings.out or (None if own is None else own.home) or MODELS / name,
        check_device(settings.device),
        settings.seed,
        None if own is None else own.image_set(),
        settings.steps,
    )


def _check_batches(names: Sequence[str], recipes: Mapping[str, "Recipe"], images: int) -> None:
    """Check that there are enough images for a batch, before the first network is trained."""
    largest = max((recipes[name].settings.batch_size for name in names if name in recipes), default=0)
    if images < largest:
        raise GuideGymError(
            f"must hold at least {largest} images to train on, one batch, beside those held out for tests; got {images}",
            argument="--data",
        )


def _names(settings: TrainModelsSettings, recipes: Mapping[str, "Recipe"]) -> list[str]:
    """Return the names of what is to be trained and measured."""
    known = [*recipes, *(one for one, needed in MEASURED.items() if needed in recipes)]
    names = list(dict.fromkeys(settings.only or known))
    if unknown := [name for name in names if name not in known]:
        raise GuideGymError(f"no network '{unknown[0]}'; known: {', '.join(known)}")
    return names


def _check_weighted(names: Sequence[str], recipes: Mapping[str, "Recipe"]) -> None:
    """Check that each network's loss has a term that can be weighted."""
    fixed = [name for name in names if name not in recipes or recipes[name].weight is None]
    if fixed:
        weighed = [name for name in recipes if recipes[name].weight is not None]
        raise GuideGymError(
            f"applies to {', '.join(weighed)}, not {fixed[0]}: choose networks with `--only`", argument="--loss-weight"
        )


def _train(names: Sequence[str], task: "TrainingTask", jobs: int) -> None:
    """Train networks one after another, or several in parallel."""
    import torch

    from guidegym.training.network_training import train_network
    from guidegym.training.side_by_side import side_by_side

    if jobs == 1 or len(names) == 1:
        for name in names:
            print(train_network(name, task))
        return
    work = functools.partial(train_network, task=task, show_bar=False)
    needs = {name: task.recipes[name].needs for name in names}
    threads = max(1, torch.get_num_threads() // jobs)
    print(f"training {len(names)} networks, {jobs} at a time; each is printed when done", flush=True)
    for _, said in side_by_side(work, needs, jobs=jobs, threads=threads):
        print(said, flush=True)


def _told(names: Sequence[str], recipes: Mapping[str, "Recipe"], *, named: bool) -> list[str]:
    """Return the names without those trained without labels; naming one of those explicitly is an error."""
    untold = [name for name in names if name in recipes and recipes[name].batches == "all"]
    if untold and named:
        raise GuideGymError(f"{untold[0]} is trained without labels: leave out `--labels`")
    return [name for name in names if name not in untold]
