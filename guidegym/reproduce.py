"""``python -m guidegym.reproduce``: test what the papers claim, and say of each claim whether it holds."""

import sys
from collections.abc import Sequence
from pathlib import Path

from guidegym.command import Parser, add_device, check_device, folder, run_command
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.evaluation.sample_sets.run import energy_for
from guidegym.files import make_folder
from guidegym.reproduction.claim import load_claim, shipped_claims
from guidegym.reproduction.page import overview
from guidegym.reproduction.run import reproduce
from guidegym.sampling import BATCH_SIZE
from guidegym.settings import check_count
from guidegym.testbeds import load_testbed

PER_CLASS, TUNING = 150, 40
QUICK_PER_CLASS, QUICK_TUNING = 100, 8


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.reproduce", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="claims by name, or paths to Python files")
    parser.add_argument("--claim", nargs="+", action="extend", default=[], metavar="CLAIM", help="the same")
    parser.add_argument("--all", action="store_true", help="every shipped claim")
    parser.add_argument("--list", action="store_true", help="print the claims, one line each, and test none")
    parser.add_argument(
        "--testbed", help="testbed, or path to a Python file with one (default: fashion; digits with --quick)"
    )
    parser.add_argument("--weights", type=Path, help="folder with other weights than the shipped ones")
    parser.add_argument("--quick", action="store_true", help="few samples, on digits: minutes instead of hours")
    parser.add_argument("--per-class", type=int, help=f"fresh samples of each class (default {PER_CLASS})")
    parser.add_argument(
        "--tuning", type=int, help=f"samples of each class that weights are chosen on (default {TUNING})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help=f"rows at a time (default {BATCH_SIZE})")
    parser.add_argument("--out", type=folder, help="folder for records and pictures; default: runs/reproduce-TESTBED")
    parser.add_argument("--page", type=Path, help="Markdown file for the page; default: results.md in --out")
    add_device(parser)
    return parser


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for name in shipped_claims():
            print(f"{name:{max(map(len, shipped_claims()))}}  {load_claim(name).says}")
        return 0
    names = shipped_claims() if arguments.all else [*arguments.claims, *arguments.claim]
    if not names:
        raise GuideGymError(f"name a claim, or give `--all`; shipped are {', '.join(shipped_claims())}")
    claims = [load_claim(name) for name in dict.fromkeys(names)]
    fresh, tuning = (QUICK_PER_CLASS, QUICK_TUNING) if arguments.quick else (PER_CLASS, TUNING)
    per_class = fresh if arguments.per_class is None else arguments.per_class
    tuning = tuning if arguments.tuning is None else arguments.tuning
    for name, value, least in (
        ("per_class", per_class, 6),
        ("tuning", tuning, 6),
        ("batch_size", arguments.batch_size, 1),
    ):
        check_count(name, value, least=least)
    name = arguments.testbed or ("digits" if arguments.quick else "fashion")
    testbed = load_testbed(name, device=check_device(arguments.device), weights=arguments.weights)
    out = arguments.out or Path("runs") / f"reproduce-{testbed.name}"
    collection = Collection(
        testbed,
        judge_extractor(testbed),
        per_class=per_class,
        seed=arguments.seed,
        energy=energy_for(None, testbed.class_energies),
        folder=out / "chunks",
        batch_size=arguments.batch_size,
    )
    page = arguments.page or out / "results.md"
    if page.is_dir():
        raise GuideGymError(f"`--page` takes a file, got the folder {page}")
    make_folder(page.parent)
    if not arguments.all:
        for claim in claims:
            if missing := claim.missing(testbed):
                raise GuideGymError(f"claim '{claim.name}' needs {', '.join(missing)}, which {testbed.name} has not")
            if unfit := claim.unfit(testbed):
                raise GuideGymError(
                    f"claim '{claim.name}' cannot be decided by the networks of {testbed.name}: {'; '.join(unfit)}"
                )
    records = reproduce(claims, collection, tuning_per_class=tuning, out=out, page=page)
    if records:
        print(overview(records))
        print(f"records and pictures are in {out}, the page is {page}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    flags = {name: f"--{name.replace('_', '-')}" for name in ("per_class", "tuning", "batch_size", "seed", "weights")}
    return run_command(_main, argv, flags=flags)


if __name__ == "__main__":
    sys.exit(main())
