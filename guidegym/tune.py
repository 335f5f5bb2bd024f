"""``python -m guidegym.tune``: search the guidance of a study, confirm what was found, and write it down."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guidegym.command import Parser, add_device, check_device, folder, not_empty, run_command
from guidegym.errors import GuideGymError, one_line
from guidegym.registry import names
from guidegym.search.loading import load_study, shipped_studies
from guidegym.tables import format_table
from guidegym.testbeds import load_testbed

FLAGS = {
    "num_steps": "--steps",
    "num_trials": "--trials",
    "samples_per_class": "--samples",
    "confirm_per_class": "--confirm-samples",
    "weights": "--weights",
    "objectives": "--objectives",
}
"""What errors call the arguments, and the flags that set them."""


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.tune", description=__doc__)
    parser.add_argument("--study", help="a shipped study, a dotted module, or a path to a Python file")
    parser.add_argument("--list", action="store_true", help="print the shipped studies and stop")
    parser.add_argument("--study-name", type=not_empty, help="name in the storage (default: study and testbed)")
    parser.add_argument("--storage", type=not_empty, help="Optuna storage address (default: a SQLite file in --out)")
    parser.add_argument("--trials", type=int, help="finished trials to stop at (default: the study's)")
    parser.add_argument("--timeout", type=float, help="seconds after which no new trials are begun")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    parser.add_argument(
        "--sampler", default="tpe", help="what asks for trials: tpe, gp, cmaes or random (default: tpe)"
    )
    parser.add_argument(
        "--objectives", help="objectives by name or reference, with commas, such as kid,accuracy (default: the study's)"
    )
    parser.add_argument(
        "--testbed", help=f"{', '.join(names('testbed'))}, or a path to a Python file (default: the study's)"
    )
    parser.add_argument("--weights", type=Path, help="folder with other weights for the testbed's networks")
    parser.add_argument("--steps", type=int, help="reverse steps of the diffusion sampler (default: the study's)")
    parser.add_argument("--samples", type=int, help="samples of each class a trial is scored on (default: the study's)")
    parser.add_argument(
        "--confirm-samples", type=int, help="fresh samples of each class at the end (default: the study's)"
    )
    parser.add_argument("--batch-trials", type=int, default=4, help="trials that are sampled together (default: 4)")
    add_device(parser)
    parser.add_argument("--out", type=folder, help="folder of the run (default: runs/STUDY-NAME)")
    return parser


def _study_lines() -> str:
    """Return the shipped studies, one line each."""
    return "\n".join(f"{name:20s} {load_study(name).description}" for name in shipped_studies())


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(_study_lines())
        return 0
    if arguments.study is None:
        parser.error(f"--study is needed; shipped are {', '.join(shipped_studies())}")
    if arguments.study.isidentifier() and arguments.study not in shipped_studies():
        print(_study_lines(), file=sys.stderr)
        raise GuideGymError(
            f"unknown study '{arguments.study}'; shipped are those above; a path to a .py file will do, too"
        )
    device = check_device(arguments.device)
    # Imported here, after the arguments are known to be good: Optuna and plotly take seconds.
    import optuna

    from guidegym.evaluation.measuring.ranking import headings, ranked_rows
    from guidegym.search.confirm import columns_of
    from guidegym.search.run import RunSettings, run_study, with_overrides
    from guidegym.search.writing import replay_command

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = with_overrides(
        load_study(arguments.study, testbed=arguments.testbed),
        num_steps=arguments.steps,
        num_trials=arguments.trials,
        samples_per_class=arguments.samples,
        confirm_per_class=arguments.confirm_samples,
        objectives=None
        if arguments.objectives is None
        else tuple(name.strip() for name in arguments.objectives.split(",")),
    )
    testbed = load_testbed(study.testbed, device=device, weights=arguments.weights)
    name = arguments.study_name or f"{study.name}-{testbed.name}"
    settings = RunSettings(
        study_name=name,
        out=arguments.out or Path("runs") / name,
        storage=arguments.storage,
        seed=arguments.seed,
        sampler=arguments.sampler,
        batch_trials=arguments.batch_trials,
        timeout=arguments.timeout,
    )
    began = time.monotonic()
    try:
        outcome = run_study(study, testbed, settings)
    except KeyboardInterrupt:
        print(
            f"stopped; what is finished lies in {settings.out}, and the same command goes on from there",
            file=sys.stderr,
        )
        raise
    columns = columns_of(study.scored_by)
    print(format_table(headings(columns), ranked_rows(outcome.confirmed, columns)))
    if outcome.best is None:
        print(f"wrote {outcome.report} and {settings.out / 'results.json'}")
        print(f"error: {outcome.failure}", file=sys.stderr)
        return 1
    print(f"best: {one_line(outcome.best.name)}  ({time.monotonic() - began:.0f} s)")
    print(f"wrote {settings.out / 'best.json'} and {outcome.report}; replay it with")
    print(f"  {replay_command(settings.out / 'best.json', study, outcome.best.sampler)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv, flags=FLAGS)


if __name__ == "__main__":
    sys.exit(main())
