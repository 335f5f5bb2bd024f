"""``python -m guidegym.train_models``: train the networks of a testbed by this package's own recipes."""

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from guidegym.command import Parser, add_device, check_device, folder, run_command
from guidegym.errors import GuideGymError
from guidegym.files import make_folder
from guidegym.settings import check_count, check_range, check_seed
from guidegym.testbeds import IMAGE_SETS
from guidegym.testbeds.images import build_energies, build_references
from guidegym.training.recipes import Recipe
from guidegym.training.side_by_side import side_by_side
from guidegym.training.sizes import BUDGETS
from guidegym.training.task import Task, train_network

MEASURED = ("references", "energies")
"""What is measured of the training images once the networks are there: by the judge, and by the guides."""


def label_share(text: str) -> float:
    """Read a share of labels: ``5%`` or ``0.05``."""
    try:
        share = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"must be a share of the labels, as 5% or 0.05, at most 100%, got {text!r}")
    return round(share, 9)


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.train_models", description=__doc__)
    parser.add_argument("--testbed", default="fashion", choices=[*IMAGE_SETS], help="which networks")
    parser.add_argument(
        "--only", nargs="+", action="extend", metavar="NAME", help="some of them; default: all; see --list"
    )
    parser.add_argument("--list", action="store_true", help="print the networks, one line each, and train none")
    parser.add_argument("--labels", type=label_share, default=1.0, help="share of the labels to be told, as 5%%")
    parser.add_argument(
        "--loss-weight", type=float, help="weight of what stands beside cross-entropy; default: the recipe's own"
    )
    parser.add_argument("--budget", default="small", choices=BUDGETS, help="small: for two CPU cores")
    parser.add_argument("--data", type=Path, help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--out", type=folder, help="where the weights go; default: runs/models/TESTBED")
    add_device(parser)
    parser.add_argument(
        "--jobs", type=int, default=1, help="networks to train at a time, each in a process (default 1)"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _train(names: Sequence[str], task: Task, jobs: int) -> None:
    """Train networks one after another, or some side by side."""
    if jobs == 1 or len(names) == 1:
        for name in names:
            print(train_network(name, task))
        return
    work = functools.partial(train_network, task=task, show_bar=False)
    needs = {name: task.recipes[name].needs for name in names}
    threads = max(1, torch.get_num_threads() // jobs)
    print(f"training {len(names)} networks, {jobs} at a time; each is named when it is done", flush=True)
    for _, said in side_by_side(work, needs, jobs=jobs, threads=threads):
        print(said, flush=True)


def _told(names: Sequence[str], recipes: Mapping[str, Recipe], *, named: bool) -> list[str]:
    """Return the names without those that learn from no labels; where they were asked for by name that is an error."""
    untold = [name for name in names if name in recipes and recipes[name].batches == "all"]
    if untold and named:
        raise GuideGymError(f"{untold[0]} learns from no labels: train it without `--labels`")
    return [name for name in names if name not in untold]


def _unweighted(names: Sequence[str], recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the names of networks whose loss has no part that could be weighed."""
    return [name for name in names if name not in recipes or recipes[name].weight is None]


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    check_count("jobs", arguments.jobs, least=1)
    check_seed(arguments.seed)
    out = arguments.out or Path("runs/models") / arguments.testbed
    device = check_device(arguments.device)
    weight = arguments.loss_weight
    if weight is not None:
        check_range("loss_weight", weight, least=0)
    task = Task(
        arguments.testbed, arguments.data, arguments.budget, arguments.labels, weight, out, device, arguments.seed
    )
    recipes = task.recipes
    known = [*recipes, *(one for one in MEASURED if one != "references" or "judge" in recipes)]
    names = list(dict.fromkeys(arguments.only or known))
    if unknown := [name for name in names if name not in known]:
        raise GuideGymError(f"no network '{unknown[0]}'; known are {', '.join(known)}")
    if arguments.list:
        width = max(map(len, recipes))
        print("\n".join(f"{name:{width}}  {recipe.says}" for name, recipe in recipes.items() if name in names))
        return 0
    if weight is not None and (fixed := _unweighted(names, recipes)):
        weighed = [name for name in recipes if recipes[name].weight is not None]
        raise GuideGymError(
            f"`--loss-weight` is for {', '.join(weighed)}, got it for {fixed[0]}: name networks by `--only`"
        )
    if task.labels < 1:
        names = _told(names, recipes, named=bool(arguments.only))
    make_folder(out)
    data = task.data
    _train([name for name in names if name in recipes], task, arguments.jobs)
    if "references" in names:
        print(f"references: {build_references(task.images, out, data, device=device)}")
    if "energies" in names:
        print(f"energies: {build_energies(task.images, out, data, device=device)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(
        _main, argv, flags={"jobs": "--jobs", "loss_weight": "--loss-weight", "labels": "--labels", "seed": "--seed"}
    )


if __name__ == "__main__":
    sys.exit(main())
