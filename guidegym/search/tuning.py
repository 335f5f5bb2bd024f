"""A whole study: baselines, search, and confirmation on fresh seeds."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import Trial
from tqdm import tqdm

from guidegym.core.sampling import OnRows
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.ranking import headings, ranked_rows
from guidegym.models import Model
from guidegym.objectives import Objective, find_objective
from guidegym.report.pictures import drawn_or_noted, picture_of, schedule_picture
from guidegym.report.tables import as_markdown, format_table
from guidegym.search.comparability import check_study, comparability
from guidegym.search.confirm import Confirmed, columns_of, confirm
from guidegym.search.optimizers import check_optimizer
from guidegym.search.queue import BASELINE
from guidegym.search.racing import check_pruner, check_race
from guidegym.search.scoring import Scored, Scorer
from guidegym.search.storage import (
    baseline_scores,
    complete,
    default_storage,
    ended,
    foreign_trials,
    keep_baseline_score,
    only_one_search,
    open_study,
    owner_of,
    save_note,
)
from guidegym.search.study import Baseline, Study
from guidegym.search.trials import SearchSettings, best_trials, search
from guidegym.search.writing import Outcome, check_folder, holds_confirmed_results, write_files
from guidegym.support.files import file_name, unfinished_prefix
from guidegym.support.interrupts import hold_interrupts
from guidegym.support.settings import check_count, plain_fields, whole_number

RESERVED_SEEDS = 2**30
"""Searches use the upper half of the seeds: plain sampling with a small seed never shares their rows."""
MAX_SEARCH_SEED = 2**29 - 1
NUM_CONFIRMED = 3
"""Searched trials that are remeasured on the fresh seeds; twice as many for a Pareto front."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run of a study.

    Args:
        study_name: Name in the storage.
        out: Folder of the run.
        storage: Optuna storage address; None for a SQLite file in ``out``.
        seed: Seed of everything, in 0 .. 2**29 - 1.
        optimizer: Name of the optimizer, one of ``OPTIMIZERS``.
        pruner: Name of the pruner, one of ``PRUNERS``; see ``racing``.
        batch_trials: Trials that are sampled together.
        timeout: Seconds after which no new batch of trials starts; None for no limit.

    Raises:
        GuideGymError: If a number is out of range, or the optimizer or the pruner unknown.
    """

    study_name: str
    out: Path
    storage: str | None = field(default=None, repr=False)  # it may contain a password
    seed: int = 0
    optimizer: str = "tpe"
    pruner: str = "none"
    batch_trials: int = 4
    timeout: float | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        whole_number("seed", self.seed, least=0, most=MAX_SEARCH_SEED)
        check_count("batch_trials", self.batch_trials, least=1)
        if self.timeout is not None and not self.timeout > 0:
            raise GuideGymError(f"must be > 0, got {self.timeout}", argument="timeout")
        check_optimizer(self.optimizer, 1)
        check_pruner(self.pruner)


def run_study(study: Study, testbed: Model, settings: RunSettings) -> Outcome:
    """Run a study to its end, or until it is interrupted, and write its files to ``settings.out``.

    Writes ``best.json`` (a guidance file), ``results.json``, ``report.html``, ``samples/``, and for every trial its
    schedule and its samples as artifacts. The same call continues an interrupted run.

    Raises:
        GuideGymError: If the study does not fit the testbed, or the storage is unusable or contains other trials.
        KeyboardInterrupt: After an interrupt, once the files are written with the results so far.
    """
    check_optimizer(settings.optimizer, len(study.objectives))
    check_study(study, testbed)
    if settings.pruner != "none":
        check_race(study, testbed, optimizer=settings.optimizer)
    with only_one_search(settings.out):
        return _Run(study, testbed, settings).go()


def first_fresh_row(num: int) -> int:
    """Return the first row of a confirmation on ``num`` samples: confirmations of different sizes share no rows.

    A larger one can therefore check the selection of a smaller one.
    """
    return num * (num - 1) // 2


class _Run:
    """One run of a study: the state shared by its steps."""

    def __init__(self, study: Study, testbed: Model, settings: RunSettings) -> None:
        self.study, self.testbed, self.settings = study, testbed, settings
        bank = any(objective.name == "robustness" for objective in study.scored_by)
        # Even seeds for the search, odd ones for the confirmation: no row is in both.
        self.scorer = Scorer(testbed, RESERVED_SEEDS + 2 * settings.seed, study.samples_per_class, bank=bank)
        self.fresh = Scorer(
            testbed,
            RESERVED_SEEDS + 2 * settings.seed + 1,
            study.confirm_per_class,
            first_row=first_fresh_row(study.confirm_per_class * testbed.num_classes),
            bank=bank,
        )
        self.comparability = comparability(study, testbed, seed=settings.seed)
        check_folder(settings.out, self.comparability)
        self.store = FileSystemArtifactStore(str(settings.out / "artifacts"))
        self.owner = owner_of(settings.out)
        self.opened = open_study(
            study,
            study_name=settings.study_name,
            storage=settings.storage or default_storage(settings.out),
            settings=self.comparability,
            owner=self.owner,
        )

    def go(self) -> Outcome:
        """Measure the baselines, search, confirm, and write the files."""
        study = self.study
        outside = [b for b in study.baselines if b.params is None and b.name not in baseline_scores(self.opened)]
        remaining = max(study.num_trials - len(ended(self.opened)), 0)
        num_confirmed = len(study.baselines) + self._num_confirmed()
        rows = self.scorer.rows_of(remaining + len(outside)) + self.fresh.rows_of(num_confirmed)
        with (
            tqdm(total=study.sampler.num_steps * rows, unit="step", unit_scale=True, mininterval=0.5) as bar,
            hold_interrupts() as interrupted,
        ):

            def advance(num: int) -> None:
                bar.update(num)
                if interrupted():  # between two sampling steps, never during a storage query
                    raise KeyboardInterrupt

            if remaining and remaining <= self._num_baselines_left():
                bar.write("note: all these trials are baselines; increase --trials to search", file=sys.stderr)
            if left_out := foreign_trials(self.opened):
                bar.write(
                    f"note: {left_out} finished trials of this study were not added by a search; they are left out of all "
                    "results, though tpe and gp see them",
                    file=sys.stderr,
                )
            try:
                bar.set_description("baselines")
                self._score_outside(outside, advance)
                bar.set_description("search")
                loop = self._loop_settings()
                search(self.opened, study, self.scorer, loop, on_trial=self._keep(bar), on_rows=advance)
                bar.set_description("confirm")
                # Fewer may be confirmed than planned if few were searched.
                bar.total = bar.n + study.sampler.num_steps * self.fresh.rows_of(len(self._to_confirm()))
                confirmed = self._confirm(advance)
            except KeyboardInterrupt:
                self._write_unconfirmed()
                raise
        best = confirmed[0]  # sound ones come first
        outcome = self._write(confirmed, best.of.method if best.sound else None)
        columns = columns_of(study.scored_by, judged=self.scorer.judged)
        table = format_table(headings(columns), ranked_rows(confirmed, columns))
        fence = "`" * (3 + table.count("`"))  # longer than any in a name, which could close it
        save_note(self.opened, self._note(f"Confirmed on fresh seeds:\n\n{fence}\n{table}\n{fence}"))
        return outcome

    def _loop_settings(self) -> SearchSettings:
        settings = self.settings
        return SearchSettings(
            num_trials=self.study.num_trials,
            batch_trials=settings.batch_trials,
            optimizer=settings.optimizer,
            seed=settings.seed,
            timeout=settings.timeout,
            owner=self.owner,
            pruner=settings.pruner,
        )

    def _num_confirmed(self) -> int:
        return NUM_CONFIRMED if len(self.study.objectives) == 1 else 2 * NUM_CONFIRMED

    def _candidate(self, baseline: Baseline) -> Method:
        return Method(baseline.name, baseline.guidance, baseline.sampler or self.study.sampler)

    def _score_outside(self, baselines: list[Baseline], on_rows: OnRows) -> None:
        """Measure the baselines outside the search space on the search seeds."""
        for baseline in baselines:
            measured = self.scorer.measure([self._candidate(baseline)], on_rows=on_rows)[0]
            scores = {one.name: measured.score(one) for one in self._baseline_objectives()}
            keep_baseline_score(self.opened, baseline.name, scores)
        if not complete(self.opened):
            save_note(self.opened, self._note())

    def _baseline_objectives(self) -> list[Objective]:
        """Return the objectives of baselines: the study's, and the two that every study with a judge has."""
        own = {one.name: one for one in self.study.scored_by}
        always = ("kid", "accuracy") if self.scorer.judged else ()
        return [*({name: find_objective(name) for name in always} | own).values()]

    def _keep(self, bar: "tqdm[Any]") -> Callable[[Trial, Scored], None]:
        """Return the callback for measured trials: it attaches artifacts and shows the best value on the bar."""
        objective = self.study.scored_by[0]
        best: list[float] = [trial.values[0] for trial in complete(self.opened)]
        pick = max if objective.sign > 0 else min

        def keep(trial: Trial, measured: Scored) -> None:
            name, guidance = measured.method.name, measured.method.guidance
            curve = drawn_or_noted(f"'{name}'", schedule_picture, {name: guidance}, self.testbed.process)
            title = f"{name}: KID {measured.kid:.4g}" if self.scorer.judged else name
            own = measured.own
            grid = drawn_or_noted(f"'{name}'", picture_of, self.testbed, own.shown, own.shown_labels, title=title)
            try:
                self._attach(trial, {"schedule": curve, "samples": grid}, file_name(name) or str(trial.number))
            except OSError as error:
                raise GuideGymError(f"{self.settings.out} cannot be written: {error.strerror}") from error
            best.append(measured.score(objective))
            bar.set_postfix({f"best {objective.name}": f"{pick(best):.4g}"}, refresh=False)

        return keep

    def _attach(self, trial: Trial, pictures: Mapping[str, bytes | None], name: str) -> None:
        """Attach to a trial the pictures that could be drawn."""
        out = self.settings.out
        with tempfile.TemporaryDirectory(dir=out, prefix=unfinished_prefix(out), suffix=".part") as folder:
            for kind, png in pictures.items():
                if png is not None:
                    path = Path(folder) / f"{kind}-{name}.png"
                    path.write_bytes(png)
                    upload_artifact(artifact_store=self.store, file_path=str(path), study_or_trial=trial)

    def _num_baselines_left(self) -> int:
        """Return the number of baselines that are not yet trials."""
        done = {trial.user_attrs.get(BASELINE) for trial in complete(self.opened)}
        return sum(baseline.params is not None and baseline.name not in done for baseline in self.study.baselines)

    def _to_confirm(self) -> list[Method]:
        searched = best_trials(self.opened, self.study, self._num_confirmed())
        return [*searched, *map(self._candidate, self.study.baselines)]

    def _confirm(self, on_rows: OnRows) -> list[Confirmed]:
        scored = self.fresh.measure(self._to_confirm(), on_rows=on_rows)
        return confirm(scored, seed=self.settings.seed, objectives=self.study.scored_by)

    def _write(self, confirmed: list[Confirmed], best: Method | None) -> Outcome:
        return write_files(
            self.settings.out,
            self.study,
            self.testbed,
            self.opened,
            settings={**self.comparability, "optuna_sampler": self.settings.optimizer},
            confirmed=confirmed,
            best=best,
        )

    def _write_unconfirmed(self) -> None:
        """Write an interrupted run's results, unless confirmed results of an earlier run would be lost."""
        found = best_trials(self.opened, self.study, 1, with_baselines=True, sound=True)
        if found and not holds_confirmed_results(self.settings.out):
            self._write([], found[0])

    def _note(self, ending: str = "") -> str:
        study = self.study
        objectives = ", ".join(objective.name for objective in study.scored_by)
        lines = [
            f"**{as_markdown(study.description)}**",
            f"Testbed {as_markdown(self.testbed.name)}, sampler `{study.sampler!r}`, objective {objectives} on "
            f"{study.samples_per_class} samples per class with common random numbers.",
            ending,
        ]
        return "\n\n".join(line for line in lines if line)
