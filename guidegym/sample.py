"""``python -m guidegym.sample``: sample a testbed under a guidance file, and write the samples and a picture of them."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from guidegym.command import Parser, add_device, add_sampler, check_device, folder, read_sampler, run_command
from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.files import make_folder, write_atomically, write_or_remove
from guidegym.guidance import Guidance
from guidegym.pictures import COLUMNS, drawn_or_noted, sample_picture
from guidegym.registry import names
from guidegym.sampling import BATCH_SIZE, Samples, row_seeds, sample
from guidegym.testbeds import Testbed, judge_features, load_testbed

MAX_SAMPLES = 1_000_000
"""Samples of a run: they are held in memory until they are written."""


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.sample", description=__doc__)
    parser.add_argument(
        "--guidance", type=folder, help="a guidance file, such as best.json; none samples without guidance"
    )
    parser.add_argument(
        "--testbed", default="fashion", help=f"{', '.join(names('testbed'))}, or a path to a Python file"
    )
    parser.add_argument("--weights", type=Path, help="folder with other weights for the testbed's networks")
    parser.add_argument("--num", type=int, default=80, help="number of samples (default: 80)")
    parser.add_argument(
        "--labels",
        nargs="+",
        action="extend",
        help="classes by name or number, taken in turn (default: all)",
        metavar="CLASS",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    add_sampler(parser)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help=f"rows at a time (default: {BATCH_SIZE})")
    add_device(parser)
    parser.add_argument("--out", type=folder, default=Path("runs/samples"), help="folder for the files")
    return parser


def parse_labels(given: Sequence[str] | None, class_names: Sequence[str], num: int) -> list[int]:
    """Return ``num`` labels, the given classes in turn.

    Args:
        given: Classes by name, in any case, or by number; several may stand in one text with commas between them. None
            for all classes.
        class_names: One name a class.
        num: How many labels, >= 1.

    Raises:
        GuideGymError: If a class is unknown or ``num`` is not positive.
    """
    if not 1 <= num <= MAX_SAMPLES:
        raise GuideGymError(f"`--num` must be in 1..{MAX_SAMPLES}, got {num}")
    known = {name.lower(): label for label, name in enumerate(class_names)}
    known |= {str(label): label for label in range(len(class_names))}
    wanted = [part.strip() for text in given or [] for part in text.split(",") if part.strip()]
    for name in wanted:
        if name.lower() not in known:
            raise GuideGymError(
                f"`--labels` must be of {', '.join(class_names)} or 0..{len(class_names) - 1}, got {name!r}"
            )
    if given is not None and not wanted:
        raise GuideGymError("`--labels` must name a class, got none")
    chosen = [known[name.lower()] for name in wanted] or list(range(len(class_names)))
    return [chosen[i % len(chosen)] for i in range(num)]


def _write(samples: Samples, testbed: Testbed, out: Path, *, title: str) -> str:
    """Write the samples and their picture, and say what was written."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x=samples.x.cpu().numpy(),
        labels=samples.labels.cpu().numpy(),
        seeds=samples.seeds.cpu().numpy(),
        failed=samples.failed.cpu().numpy(),
    )
    # The numbers first: a picture can be drawn again.
    write_atomically(out / "samples.npz", buffer.getvalue())
    picture = drawn_or_noted("the samples", sample_picture, samples.x, samples.labels, testbed.class_names, title=title)
    write_or_remove(out / "samples.png", picture)
    if picture is None:
        return f"wrote {out / 'samples.npz'}"
    return f"wrote {out / 'samples.png'} ({COLUMNS} of each class at most) and {out / 'samples.npz'}"


def _judged(samples: Samples, testbed: Testbed) -> float:
    """Return the share of samples that the judge takes for the class asked for."""
    logits = testbed.judged(judge_features(testbed.judge, samples.x))
    return float(((logits.argmax(dim=1) == samples.labels) & ~samples.failed).double().mean())


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    guidance = Guidance.load(arguments.guidance) if arguments.guidance else Guidance()
    sampler = read_sampler(arguments)
    testbed = load_testbed(arguments.testbed, device=check_device(arguments.device), weights=arguments.weights)
    labels = parse_labels(arguments.labels, testbed.class_names, arguments.num)
    seeds = row_seeds(arguments.seed, arguments.num)
    if arguments.batch_size < 1:
        raise GuideGymError(f"`--batch-size` must be >= 1, got {arguments.batch_size}")
    Engine.under(testbed, sampler, guidance)  # says what does not fit before there is a progress bar
    make_folder(arguments.out)
    with tqdm(total=arguments.num * sampler.num_steps, unit="step", unit_scale=True, desc="sample") as bar:
        samples = sample(
            testbed,
            guidance,
            labels=labels,
            seeds=seeds,
            sampler=sampler,
            batch_size=arguments.batch_size,
            on_rows=bar.update,
        )
    title = arguments.guidance.name if arguments.guidance else "unguided"
    written = _write(samples, testbed, arguments.out, title=title)
    print(
        f"{arguments.num} samples, accuracy under the judge {100 * _judged(samples, testbed):.1f} %, "
        f"{samples.cost.total / arguments.num:.0f} network evaluations a sample, {int(samples.failed.sum())} failed"
    )
    if testbed.judge_note:
        print(f"note: {testbed.judge_note}")
    print(written)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(
        _main, argv, flags={"num_steps": "--steps", "seed": "--seed", "eta": "--eta", "weights": "--weights"}
    )


class _CallableModule(ModuleType):
    """The package has a function of this module's name: importing the module must not take it away."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Samples:
        return sample(*arguments, **keywords)


if __name__ == "__main__":
    sys.exit(main())
sys.modules[__name__].__class__ = _CallableModule
