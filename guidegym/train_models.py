"""``python -m guidegym.train_models``: train the networks of a testbed by this package's own recipes."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from guidegym.command import add_device, check_device, folder, run_command
from guidegym.errors import DataNotFoundError, GuideGymError
from guidegym.files import make_folder
from guidegym.metrics.accuracy import accuracy, noisy_accuracy, robust_accuracy
from guidegym.networks import MaxMahalanobisClassifier, TimeDependentClassifier, UNet, load_network, save_network
from guidegym.networks.judges import BaseJudge
from guidegym.testbeds import IMAGE_SETS
from guidegym.testbeds.image_data import ImageData, hide_labels, to_unit_range
from guidegym.testbeds.images import ImageSet, build_energies, build_references
from guidegym.testbeds.references import file_digest
from guidegym.training.loop import Pool, TrainingResult, TrainingRun, seed_for, train
from guidegym.training.loss import DivergedError
from guidegym.training.max_mahalanobis import estimate_variance
from guidegym.training.recipes import Recipe, recipes_for
from guidegym.training.sizes import SIZES, Budget

MEASURED = ("references", "energies")
"""What is measured of the training images once the networks are there: by the judge, and by the guides."""
ATTACK_RADIUS = 2.0
"""L2 radius of the attack that a guide of clean images is measured by, in units of [-1, 1] images."""
ATTACKED = 1000
"""Test images that are attacked."""


@dataclass(frozen=True)
class Task:
    """One network to train: of which images, told which share of the labels, for how long, to where."""

    images: ImageSet
    data: ImageData
    budget: Budget
    labels: float
    out: Path
    device: torch.device
    seed: int

    def file(self, name: str) -> Path:
        """Return the weight file of a recipe: its name, and the share of labels in percent where it is not all."""
        return self.out / f"{name}{label_suffix(self.labels)}.safetensors"


def label_suffix(labels: float) -> str:
    """Return what a share of labels adds to a network's name: ``-5`` for 5 %, nothing for all."""
    return "" if labels == 1 else f"-{100 * labels:g}"


def label_share(text: str) -> float:
    """Read a share of labels: ``5%`` or ``0.05``."""
    try:
        share = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"must be a share of the labels, as 5% or 0.05, at most 100%, got {text!r}")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m guidegym.train_models", description=__doc__)
    parser.add_argument("--testbed", default="fashion", choices=[*IMAGE_SETS], help="which networks")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of them; default: all; see --list")
    parser.add_argument("--list", action="store_true", help="print the networks, one line each, and train none")
    parser.add_argument("--labels", type=label_share, default=1.0, help="share of the labels to be told, as 5%%")
    parser.add_argument("--budget", default="small", choices=["small", "full"], help="small: for two CPU cores")
    parser.add_argument("--data", type=Path, help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--out", type=folder, help="where the weights go; default: runs/models/TESTBED")
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _pools(task: Task, recipe: Recipe) -> list[Pool]:
    """Return where a recipe's batches come from."""
    data, device = task.data, task.device
    told = hide_labels(data.train_labels, task.labels, num_classes=task.images.num_classes, seed=task.seed)
    everything = Pool(data.train_images.to(device), torch.full_like(told, -1).to(device))
    if recipe.batches == "all":
        return [everything]
    known = told >= 0
    labelled = Pool(data.train_images[known].to(device), told[known].to(device))
    return [labelled] if recipe.batches == "labelled" else [labelled, everything]


def _needed(task: Task, recipe: Recipe) -> dict[str, nn.Module]:
    """Return the trained networks that a recipe needs."""
    for name in recipe.needs:
        if not (task.out / f"{name}.safetensors").is_file():
            raise DataNotFoundError(f"it needs {task.out / f'{name}.safetensors'}; train {name} into {task.out} first")
    return {name: load_network(task.out / f"{name}.safetensors", device=task.device) for name in recipe.needs}


def _figures(network: nn.Module, task: Task) -> dict[str, float]:
    """Return what a network is measured by on the test set; a denoiser is measured by its samples, elsewhere."""
    if isinstance(network, UNet):
        return {}
    x, labels = to_unit_range(task.data.test_images).to(task.device), task.data.test_labels.to(task.device)
    figures = {"test_accuracy": accuracy(network, x, labels)}
    if isinstance(network, TimeDependentClassifier):
        for timestep in (250, 500, 750):
            figures[f"test_accuracy_t{timestep}"] = noisy_accuracy(
                network, x, labels, process=task.images.process, timestep=timestep
            )
    elif not isinstance(network, BaseJudge):
        figures["robust_accuracy_pgd20"] = robust_accuracy(
            network, x[:ATTACKED], labels[:ATTACKED], radius=ATTACK_RADIUS
        )
        figures["robust_radius_l2"] = ATTACK_RADIUS
    return figures


def _save(name: str, recipe: Recipe, task: Task, result: TrainingResult, said: dict[str, Any]) -> None:
    """Measure a trained network as it is saved, in half precision, and write its file."""
    network = result.network.to(task.device)
    if isinstance(network, MaxMahalanobisClassifier):
        known = _pools(task, recipe)[0]
        said["variance"] = estimate_variance(network, to_unit_range(known.images), known.labels)
    shipped = network.half().float()
    settings = recipe.settings[task.budget]
    metadata: dict[str, Any] = {
        "testbed": task.images.name,
        "recipe": name,
        "budget": task.budget,
        "loss": recipe.says,
        **recipe.about,
        "labels": task.labels,
        "process": f"{task.images.process.schedule}, T = {task.images.process.num_timesteps}",
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
    shown = ", ".join(f"{key} {value}" for key, value in metadata.items() if key != "data_sha256")
    print(f"{task.file(name).stem}: {shown}")


def train_one(name: str, recipe: Recipe, task: Task) -> None:
    """Train one network, measure it on the test set and write its weight file.

    Raises:
        DataNotFoundError: If a network that it needs has not been trained.
        DivergedError: If the training diverged; its last good weights are written all the same.
    """
    needed, settings = _needed(task, recipe), recipe.settings[task.budget]
    torch.manual_seed(seed_for(task.seed, name, "initialisation"))
    network = recipe.build()
    if recipe.start_from is not None:
        network.load_state_dict(needed[recipe.start_from].state_dict(), strict=False)
    parents = [file_digest(task.out / f"{parent}.safetensors") for parent in recipe.needs]
    run = TrainingRun(
        network,
        recipe.loss(needed),
        settings,
        checkpoint=task.out / "checkpoints" / f"{task.file(name).stem}-{task.budget}.pt",
        seed=task.seed,
        device=task.device,
        identity=f"{name} {task.labels} {task.data.digest} {recipe.says} {recipe.about} {network.config} {parents}",
    )
    try:
        result = train(run, *_pools(task, recipe), name=task.file(name).stem)
    except DivergedError:
        if run.step:
            _save(name, recipe, task, run.result(), {"diverged": True})
        raise
    _save(name, recipe, task, result, {})


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    images = IMAGE_SETS[arguments.testbed]
    recipes = recipes_for(images, SIZES[images.name])
    if arguments.list:
        width = max(map(len, recipes))
        print("\n".join(f"{name:{width}}  {recipe.says}" for name, recipe in recipes.items()))
        return 0
    names = arguments.only or [*recipes, *MEASURED]
    unknown = [name for name in names if name not in (*recipes, *MEASURED)]
    if unknown:
        raise GuideGymError(f"no network '{unknown[0]}'; known are {', '.join([*recipes, *MEASURED])}")
    out = arguments.out or Path("runs/models") / images.name
    make_folder(out)
    data = images.load(arguments.data)
    device = check_device(arguments.device)
    task = Task(images, data, arguments.budget, arguments.labels, out, device, arguments.seed)
    for name in names:
        if name == "references":
            print(f"references: {build_references(images, out, data, device=device)}")
        elif name == "energies":
            print(f"energies: {build_energies(images, out, data, device=device)}")
        else:
            train_one(name, recipes[name], task)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
