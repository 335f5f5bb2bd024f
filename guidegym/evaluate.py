"""``python -m guidegym.evaluate``: measure classifiers before guiding with them, and methods by their samples."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from guidegym.command import Parser, add_device, add_sampler, check_device, folder, read_sampler, run_command
from guidegym.errors import GuideGymError
from guidegym.evaluation.classifiers.measure import Effort
from guidegym.evaluation.classifiers.run import evaluate_classifiers
from guidegym.evaluation.measuring.extractor import Extractor, inception_extractor, judge_extractor
from guidegym.evaluation.measuring.metrics import METRICS, RESAMPLES
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.methods import methods
from guidegym.evaluation.sample_sets.run import Plan, energy_for, evaluate_methods
from guidegym.sampling import BATCH_SIZE
from guidegym.settings import check_count, whole_number
from guidegym.testbeds import Testbed, load_testbed

QUICK = Effort(rows=300, attacked=40, attack_steps=10, smallest=10)
PER_CLASS = 200
MOST = 1_000_000
"""Samples of each class, or resamples, beyond which a number is a slip of the finger."""
OF_CLASSIFIERS = ("quick", "rows", "attacked")
"""Flags that measuring classifiers reads; those of methods are the others."""
SHARED = ("classifier", "guidance", "testbed", "weights", "data", "out", "device")
"""Flags that both read."""


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.evaluate", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--classifier", nargs="+", action="extend", metavar="NAME", help="classifiers by name, or: all")
    what.add_argument(
        "--guidance",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="guidance files, unguided, classifier-free[:WEIGHT]; the first is what the others are compared with",
    )
    parser.add_argument("--testbed", default="fashion", help="testbed, or path to a Python file with one")
    parser.add_argument("--weights", type=Path, help="folder with other weights than the shipped ones")
    parser.add_argument("--data", type=Path, help="folder of the data set, where it is read from files")
    parser.add_argument(
        "--out", type=folder, help="where pages go; default: runs/classifiers-TESTBED or runs/evaluate-TESTBED"
    )
    add_device(parser)
    of_classifiers = parser.add_argument_group("classifiers")
    of_classifiers.add_argument("--quick", action="store_true", help="few rows and short attacks")
    of_classifiers.add_argument("--rows", type=int, help=f"rows to measure (default {Effort.rows})")
    of_classifiers.add_argument("--attacked", type=int, help=f"rows to attack (default {Effort.attacked})")
    _add_sample_sets(parser)
    return parser


def _add_sample_sets(parser: argparse.ArgumentParser) -> None:
    """Add the flags of an evaluation of methods."""
    group = parser.add_argument_group("methods")
    group.add_argument("--per-class", type=int, help=f"samples of each class (default {PER_CLASS})")
    group.add_argument("--seed", type=int, default=0, help="seed of the samples, the same for all methods (default 0)")
    group.add_argument(
        "--metrics", nargs="+", action="extend", default=[], metavar="NAME", help=f"some of: {', '.join(METRICS)}"
    )
    group.add_argument("--energy", metavar="CLASSIFIER", help="whose energy divergence (default: robust, where known)")
    group.add_argument(
        "--scales",
        nargs="+",
        action="extend",
        type=float,
        default=[],
        metavar="FACTOR",
        help="draw curves over factors on the weight",
    )
    group.add_argument(
        "--beside",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="JSON",
        help="results.json of earlier evaluations",
    )
    group.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples (default {RESAMPLES})")
    group.add_argument("--extractor", choices=["judge", "inception"], default="judge", help="what looks at the samples")
    group.add_argument(
        "--inception-weights", type=Path, help="torch-fidelity's Inception weights; default: its download"
    )
    group.add_argument("--shards", type=int, help="processes or machines that share --out and the sampling")
    group.add_argument("--shard", type=int, help="which of them this is, from 0")
    group.add_argument("--batch-size", type=int, default=BATCH_SIZE, help=f"rows at a time (default {BATCH_SIZE})")
    add_sampler(group)


def _check_flags(parser: Parser, arguments: argparse.Namespace) -> None:
    """Check that no flag was given that the kind of evaluation does not read."""
    own, other = ("--classifier", "--guidance") if arguments.classifier else ("--guidance", "--classifier")
    for name, value in vars(arguments).items():
        of_classifiers = name in OF_CLASSIFIERS
        if name not in SHARED and of_classifiers == (own == "--guidance") and value != parser.get_default(name):
            raise GuideGymError(f"`--{name.replace('_', '-')}` belongs to `{other}`, got it with `{own}`")
    if arguments.data is not None and arguments.guidance and arguments.extractor != "inception":
        raise GuideGymError("`--data` is read with `--classifier` or `--extractor inception`")
    if not all(map(math.isfinite, arguments.scales)):
        raise GuideGymError(
            f"`--scales` must be finite numbers, got {' '.join(f'{one:g}' for one in arguments.scales)}"
        )


def _classifiers(arguments: argparse.Namespace, testbed: Testbed) -> None:
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise GuideGymError(f"`--classifier` is measured by one process, got {processes}: name others in each command")
    base = QUICK if arguments.quick else Effort()
    given = {key: getattr(arguments, key) for key in ("rows", "attacked") if getattr(arguments, key) is not None}
    effort = Effort(**{**vars(base), **given})
    out = arguments.out or Path("runs") / f"classifiers-{testbed.name}"
    evaluate_classifiers(testbed, arguments.classifier, effort=effort, data=arguments.data, out=out)


def _shard(arguments: argparse.Namespace) -> tuple[int, int]:
    """Return this shard and their number: as given, or as ``torchrun`` says."""
    if (arguments.shard is None) != (arguments.shards is None):
        raise GuideGymError("`--shard` and `--shards` belong together: give both")
    if arguments.shards is not None:
        return arguments.shard, arguments.shards
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _extractor(arguments: argparse.Namespace, testbed: Testbed) -> Extractor:
    if arguments.extractor == "inception":
        return inception_extractor(testbed, weights=arguments.inception_weights, data=arguments.data)
    if arguments.inception_weights is not None:
        raise GuideGymError("`--inception-weights` belongs to `--extractor inception`")
    return judge_extractor(testbed)


def _methods(arguments: argparse.Namespace, testbed: Testbed) -> None:
    shard, shards = _shard(arguments)
    per_class = PER_CLASS if arguments.per_class is None else arguments.per_class
    whole_number("per_class", per_class, least=1, most=MOST)
    check_count("batch_size", arguments.batch_size, least=1)
    whole_number("resamples", arguments.resamples, least=2, most=MOST)
    out = arguments.out or Path("runs") / f"evaluate-{testbed.name}"
    collection = Collection(
        testbed,
        _extractor(arguments, testbed),
        per_class=per_class,
        seed=arguments.seed,
        energy=energy_for(arguments.energy, testbed.class_energies),
        folder=out / "chunks",
        batch_size=arguments.batch_size,
    )
    plan = Plan(arguments.metrics, arguments.scales, arguments.beside, arguments.resamples, shard, shards)
    evaluate_methods(methods(arguments.guidance, read_sampler(arguments)), collection, plan, out=out)


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check_flags(parser, arguments)
    testbed = load_testbed(arguments.testbed, device=check_device(arguments.device), weights=arguments.weights)
    (_classifiers if arguments.classifier else _methods)(arguments, testbed)
    return 0


FLAGS = (
    "rows",
    "attacked",
    "seed",
    "energy",
    "eta",
    "shard",
    "shards",
    "weights",
    "per_class",
    "batch_size",
    "resamples",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(
        _main, argv, flags={**{name: f"--{name.replace('_', '-')}" for name in FLAGS}, "num_steps": "--steps"}
    )


if __name__ == "__main__":
    sys.exit(main())
