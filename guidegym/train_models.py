"""``python -m guidegym.train_models``: train the networks of a testbed by this package's own recipes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from guidegym.command import add_device, check_device, folder, run_command
from guidegym.files import make_folder
from guidegym.networks import load_network, save_network
from guidegym.testbeds.fashion import build_energies, build_references
from guidegym.testbeds.fashion_data import ImageData, load_fashion_mnist, to_unit_range
from guidegym.testbeds.references import file_digest
from guidegym.training.loop import TrainingRun, seed_for, train
from guidegym.training.recipes import FASHION, Budget

MEASURED = ("references", "energies")
"""What is measured of the training images once the networks are there: by the judge, and by the guides."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m guidegym.train_models", description=__doc__)
    parser.add_argument("--testbed", default="fashion", choices=["fashion"], help="which networks")
    parser.add_argument("--only", choices=[*FASHION, *MEASURED], help="one of them; default: all")
    parser.add_argument(
        "--budget", default="small", choices=["small", "full"], help="small: two hours on two CPU cores"
    )
    parser.add_argument("--data", type=Path, help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--out", type=folder, default=Path("runs/models/fashion"), help="where the weights go")
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def train_one(name: str, data: ImageData, *, budget: Budget, out: Path, device: torch.device, seed: int) -> None:
    """Train one network of the fashion testbed, measure it on the test set and write its weight file."""
    recipe = FASHION[name]
    settings = recipe.budgets[budget]
    torch.manual_seed(seed_for(seed, name, "initialisation"))
    network = recipe.build()
    parent = ""
    if recipe.start_from is not None:
        source = out / f"{recipe.start_from}.safetensors"
        network.load_state_dict(load_network(source).state_dict(), strict=False)
        parent = file_digest(source)
    run = TrainingRun(
        network,
        settings,
        checkpoint=out / "checkpoints" / f"{name}-{budget}.pt",
        seed=seed,
        device=device,
        identity=f"{name} {data.digest} {sorted(recipe.describe.items())} {network.config}{parent}",
    )
    result = train(run, data.train_images.to(device), data.train_labels.to(device), recipe.loss, name=name)
    shipped = result.network.to(device).half().float()  # measured as it is saved, rounded to half precision
    figures = recipe.evaluate(shipped, to_unit_range(data.test_images).to(device), data.test_labels.to(device))
    metadata: dict[str, Any] = {
        "testbed": "fashion",
        "recipe": name,
        "budget": budget,
        **recipe.describe,
        "seed": seed,
        "data_sha256": data.digest,
        "steps": result.num_steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "final_loss": round(result.final_loss, 6),
        **{key: round(value, 4) for key, value in figures.items()},
    }
    save_network(shipped, out / f"{name}.safetensors", metadata=metadata, dtype=torch.float16)
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in metadata.items() if key != "data_sha256"))


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    device = check_device(arguments.device)
    make_folder(arguments.out)
    data = load_fashion_mnist(arguments.data)
    names = [arguments.only] if arguments.only else [*FASHION, *MEASURED]
    for name in names:
        if name == "references":
            print(f"references: {build_references(arguments.out, data, device=device)}")
        elif name == "energies":
            print(f"energies: {build_energies(arguments.out, data, device=device)}")
        else:
            train_one(name, data, budget=arguments.budget, out=arguments.out, device=device, seed=arguments.seed)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
