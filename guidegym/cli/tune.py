"""``guidegym tune``: search the guidance of a study, confirm the best candidates, and write them to files."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from guidegym.cli.constants import names, parts
from guidegym.cli.flags import SamplerSettings, check_device, naming_flags
from guidegym.errors import GuideGymError, one_line
from guidegym.report.tables import format_table

if TYPE_CHECKING:
    from guidegym.search.study import Study
    from guidegym.search.tuning import RunSettings

OPTIMIZERS = names("guidegym.search.optimizers", "OPTIMIZERS")
PRUNERS = names("guidegym.search.racing", "PRUNERS")
SAMPLERS = parts("sampler")
TESTBEDS = parts("testbed")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StudySampler(SamplerSettings):
    """Flags that change a study's diffusion sampler."""

    steps: int | None = None
    """reverse steps of the diffusion sampler (default: the study's)"""
    sampler: Annotated[str | None, Parameter(help=f"diffusion sampler: {SAMPLERS} (default: the study's)")] = None
    eta: float | None = None
    """noise scale of ddim, 0 to 1 (default: the study's)"""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Settings of a search."""

    study: str | None = None
    """a shipped study, a dotted module, or a path to a Python file"""
    list: bool = False
    """print the shipped studies and exit"""
    study_name: str | None = None
    """name in the storage (default: STUDY-TESTBED)"""
    storage: str | None = None
    """Optuna storage address (default: a SQLite file in --out)"""
    trials: int | None = None
    """number of finished trials to stop at (default: the study's)"""
    timeout: float | None = None
    """seconds after which no new trials start"""
    seed: int = 0
    """seed of everything (default: 0)"""
    optimizer: Annotated[str, Parameter(help=f"optimizer that proposes trials: {OPTIMIZERS} (default: tpe)")] = "tpe"
    pruner: Annotated[
        str, Parameter(help=f"drops trials early that are clearly behind, class by class: {PRUNERS} (default: none)")
    ] = "none"
    objectives: str | None = None
    """objectives by name or reference, separated by commas, such as kid,accuracy (default: the study's)"""
    testbed: Annotated[
        str | None,
        Parameter(help=f"{TESTBEDS}, or a path to a Python file or a folder of train-models (default: the study's)"),
    ] = None
    weights: Path | None = None
    """folder with weights to use instead of the testbed's own"""
    sampling: StudySampler = StudySampler()
    samples: int | None = None
    """samples per class that a trial is scored on (default: the study's)"""
    confirm_samples: int | None = None
    """fresh samples per class for the confirmation (default: the study's)"""
    batch_trials: int = 4
    """trials that are sampled together (default: 4)"""
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""
    out: Path | None = None
    """folder of the run (default: runs/STUDY-NAME)"""


DEFAULTS = TuneSettings()


def tune(settings: TuneSettings = DEFAULTS) -> int:
    """Search the guidance of a study, confirm the best candidates, and write them to files."""
    # Imported here and below, once the flags are validated: importing torch, Optuna and plotly takes seconds.
    from guidegym.registry import names

    if settings.list:
        print(_study_lines())
        return 0
    if settings.study is None:
        raise GuideGymError(f"`--study` is required; shipped studies: {', '.join(names('study'))}; see --help")
    if settings.study.isidentifier() and settings.study not in names("study"):
        print(_study_lines(), file=sys.stderr)
        raise GuideGymError(
            f"unknown study '{settings.study}'; the shipped ones are listed above; a path to a .py file works, too"
        )
    return _search(_without_old_spelling(settings))


def _study_lines() -> str:
    """Return the shipped studies, one line each."""
    from guidegym.registry import names
    from guidegym.search.loading import load_study

    return "\n".join(f"{name:20s} {load_study(name).description}" for name in names("study"))


def _without_old_spelling(settings: TuneSettings) -> TuneSettings:
    """Return the settings with the optimizer in its own field: until version 0.2 ``--sampler`` named it."""
    old = settings.sampling.sampler
    if old is None or old not in OPTIMIZERS.split(", "):
        return settings
    print(f"warning: --sampler is the diffusion sampler now; use --optimizer {old}", file=sys.stderr)
    return replace(settings, optimizer=old, sampling=replace(settings.sampling, sampler=None))


def _study(settings: TuneSettings) -> "Study":
    """Return the study with the overrides of the flags."""
    from guidegym.search.loading import load_study
    from guidegym.search.study import with_overrides

    assert settings.study is not None
    study = load_study(settings.study, testbed=settings.testbed)
    names = None if settings.objectives is None else tuple(name.strip() for name in settings.objectives.split(","))
    with naming_flags(settings.sampling, num_steps="steps"):
        study = with_overrides(study, num_steps=settings.sampling.steps)
    study = with_overrides(study, sampler=settings.sampling.change(study.sampler))
    with naming_flags(
        settings, "objectives", num_trials="trials", samples_per_class="samples", confirm_per_class="confirm_samples"
    ):
        return with_overrides(
            study,
            num_trials=settings.trials,
            samples_per_class=settings.samples,
            confirm_per_class=settings.confirm_samples,
            objectives=names,
        )


def _run_settings(settings: TuneSettings, name: str) -> "RunSettings":
    from guidegym.search.tuning import RunSettings

    with naming_flags(settings, "seed", "optimizer", "pruner", "batch_trials", "timeout"):
        return RunSettings(
            study_name=name,
            out=settings.out or Path("runs") / name,
            storage=settings.storage,
            seed=settings.seed,
            optimizer=settings.optimizer,
            pruner=settings.pruner,
            batch_trials=settings.batch_trials,
            timeout=settings.timeout,
        )


def _search(settings: TuneSettings) -> int:
    """Run the search and print its results."""
    device = check_device(settings.device)
    import optuna

    from guidegym.evaluation.measuring.ranking import headings, ranked_rows
    from guidegym.search.confirm import columns_of
    from guidegym.search.tuning import run_study
    from guidegym.search.writing import replay_command
    from guidegym.testbeds import Testbed, load_model

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(settings)
    with naming_flags(settings, "weights"):
        testbed = load_model(study.testbed, device=device, weights=settings.weights)
    run = _run_settings(settings, settings.study_name or f"{study.name}-{testbed.name}")
    began = time.monotonic()
    try:
        with (
            naming_flags(settings, "storage", "out", "optimizer", "pruner", "objectives"),
            naming_flags(settings.sampling, num_steps="steps"),
        ):
            outcome = run_study(study, testbed, run)
    except KeyboardInterrupt:
        print(
            f"stopped; the results so far are in {run.out}, and the same command continues from there", file=sys.stderr
        )
        raise
    columns = columns_of(study.scored_by, judged=isinstance(testbed, Testbed))
    print(format_table(headings(columns), ranked_rows(outcome.confirmed, columns)))
    if outcome.best is None:
        print(f"wrote {outcome.report} and {run.out / 'results.json'}")
        print(f"error: {outcome.failure}", file=sys.stderr)
        return 1
    print(f"best: {one_line(outcome.best.name)}  ({time.monotonic() - began:.0f} s)")
    if any(column.name == "kid" for column in columns):
        print("KID is on the scale of the judge's features: compare it under the same judge only")
    print(f"wrote {run.out / 'best.json'} and {outcome.report}; replay it with")
    print(f"  {replay_command(run.out / 'best.json', study, outcome.best)}")
    return 0
