"""A whole study: baselines, search, confirmation on fresh seeds, and the files that are left behind."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import Trial
from optuna_dashboard import save_note
from tqdm import tqdm

from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.files import write_atomically
from guidegym.pictures import sample_picture, schedule_picture
from guidegym.search.confirm import Confirmed, confirm
from guidegym.search.loop import LoopSettings, best_trials, search
from guidegym.search.report import build_report
from guidegym.search.samplers import check_sampler
from guidegym.search.scoring import Candidate, Measured, Scorer
from guidegym.search.storage import (
    complete,
    default_storage,
    only_one_search,
    open_study,
    owner_of,
)
from guidegym.search.study import Study
from guidegym.search.table import HEADINGS, format_table, table_json, table_rows
from guidegym.testbeds import Testbed

MAX_SEARCH_SEED = 2**30 - 1
NUM_CONFIRMED = 3
"""Searched trials that are measured again on the fresh seeds."""


@dataclass(frozen=True)
class RunSettings:
    """How a study is run.

    Args:
        study_name: Name in the storage.
        out: Folder of the run.
        storage: Optuna storage address; None for a SQLite file in ``out``.
        seed: Seed of everything, in 0 .. 2**30 - 1.
        sampler: Name of Optuna's sampler.
        batch_trials: Trials that are sampled together.
        timeout: Seconds after which no new batch of trials is begun; None for no limit.

    Raises:
        GuideGymError: If a number is out of range or the sampler unknown.
    """

    study_name: str
    out: Path
    storage: str | None = None
    seed: int = 0
    sampler: str = "tpe"
    batch_trials: int = 4
    timeout: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEARCH_SEED:
            raise GuideGymError(f"`--seed` must be in 0..{MAX_SEARCH_SEED}, got {self.seed}")
        if self.batch_trials < 1:
            raise GuideGymError(f"`--batch-trials` must be >= 1, got {self.batch_trials}")
        if self.timeout is not None and not self.timeout > 0:
            raise GuideGymError(f"`--timeout` must be > 0, got {self.timeout}")
        check_sampler(self.sampler, 1)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a study found.

    Args:
        confirmed: Every method on the fresh seeds, best first; empty where the run was interrupted before.
        best: The best guidance there is so far, with what it was called.
        report: The HTML report.
    """

    confirmed: list[Confirmed]
    best: Candidate
    report: Path


def run_study(study: Study, testbed: Testbed, settings: RunSettings) -> Outcome:
    """Run a study to its end, or as far as it gets, and write its files to ``settings.out``.

    Writes ``best.json`` (a guidance file), ``results.json``, ``report.html``, ``samples/``, and for every trial its
    schedule and its samples as artifacts. The same call goes on where an interrupted one stopped.

    Raises:
        GuideGymError: If the storage cannot be used or holds trials of other settings.
        KeyboardInterrupt: After an interrupt, when the files are written with what there is.
    """
    check_sampler(settings.sampler, len(study.objectives))
    for baseline in study.baselines:  # before anything is written: do the testbed and the samplers fit the study?
        Engine(testbed, baseline.sampler or study.sampler, baseline.guidance.guide)
    with only_one_search(settings.out):
        return _Run(study, testbed, settings).go()


class _Run:
    """One run of a study: what its steps share."""

    def __init__(self, study: Study, testbed: Testbed, settings: RunSettings) -> None:
        self.study, self.testbed, self.settings = study, testbed, settings
        # Even seeds search, odd ones confirm: no row is in both.
        self.scorer = Scorer(testbed, 2 * settings.seed, study.samples_per_class)
        self.fresh = Scorer(testbed, 2 * settings.seed + 1, study.confirm_per_class)
        self.store_path = settings.out / "artifacts"
        self.store_path.mkdir(parents=True, exist_ok=True)
        self.store = FileSystemArtifactStore(str(self.store_path))
        self.storage = settings.storage or default_storage(settings.out)
        self.owner = owner_of(settings.out)
        self.opened = open_study(
            study,
            study_name=settings.study_name,
            storage=self.storage,
            settings=_comparability(study, testbed, settings),
            owner=self.owner,
        )
        save_note(self.opened, self._note())

    def _note(self, ending: str = "") -> str:
        study = self.study
        lines = [
            f"**{study.description}**",
            f"Testbed `{self.testbed.name}`, sampler `{study.sampler!r}`, objective {', '.join(study.objectives)} on "
            f"{study.samples_per_class} samples a class with common random numbers.",
            ending,
        ]
        return "\n\n".join(line for line in lines if line)

    def go(self) -> Outcome:
        study, settings = self.study, self.settings
        loop = LoopSettings(
            num_trials=study.num_trials,
            batch_trials=settings.batch_trials,
            sampler=settings.sampler,
            seed=settings.seed,
            timeout=settings.timeout,
            owner=self.owner,
        )
        steps = study.sampler.num_steps
        remaining = max(study.num_trials - len(complete(self.opened)), 0)
        num_confirmed = len(study.baselines) + NUM_CONFIRMED
        total = steps * (self.scorer.rows_of(remaining) + self.fresh.rows_of(num_confirmed))
        interrupted: KeyboardInterrupt | None = None
        confirmed: list[Confirmed] = []
        with tqdm(total=total, unit="step", unit_scale=True, desc="search", mininterval=0.5) as bar:
            try:
                search(self.opened, study, self.scorer, loop, on_trial=self._keep(bar), on_rows=bar.update)
                bar.set_description("confirm")
                confirmed = self._confirm(bar)
            except KeyboardInterrupt as error:
                interrupted = error
        outcome = self._write(confirmed)
        if interrupted is not None:
            raise interrupted
        return outcome

    def _keep(self, bar: "tqdm[Any]") -> Any:
        """Return what is done with each measured trial: artifacts, and the best value on the bar."""
        best: list[float] = [trial.values[0] for trial in complete(self.opened)]
        pick = min if self.opened.directions[0] == optuna.study.StudyDirection.MINIMIZE else max

        def keep(trial: Trial, measured: Measured) -> None:
            guidance, testbed = measured.candidate.guidance, self.testbed
            name = f"{study_file_name(measured.candidate.name)}"
            curve = schedule_picture({measured.candidate.name: guidance}, testbed.process)
            title = f"{measured.candidate.name}: KID {measured.kid:.4g}"
            grid = sample_picture(measured.samples.x, measured.samples.labels, testbed.class_names, title=title)
            with tempfile.TemporaryDirectory() as folder:
                for kind, content in (("schedule", curve), ("samples", grid)):
                    path = Path(folder) / f"{kind}-{name}.png"
                    path.write_bytes(content)
                    upload_artifact(artifact_store=self.store, file_path=str(path), study_or_trial=trial)
            best.append(measured.score(self.study.objectives[0]))
            bar.set_postfix({"best " + self.study.objectives[0]: f"{pick(best):.4f}"}, refresh=False)

        return keep

    def _confirm(self, bar: "tqdm[Any]") -> list[Confirmed]:
        baselines = [Candidate(b.name, b.guidance, b.sampler or self.study.sampler) for b in self.study.baselines]
        candidates = [*best_trials(self.opened, self.study, NUM_CONFIRMED), *baselines]
        measured = self.fresh.measure(candidates, on_rows=bar.update)
        return confirm(self.fresh, measured, seed=self.settings.seed)

    def _write(self, confirmed: list[Confirmed]) -> Outcome:
        """Write the files of the run."""
        out, study = self.settings.out, self.study
        if confirmed:
            best = confirmed[0].measured.candidate
        else:
            found = best_trials(self.opened, study, 1)
            if not found:
                raise KeyboardInterrupt
            best = found[0]
        best.guidance.save(out / "best.json")
        results = {
            "format": "guidegym-results/1",
            "study": study.name,
            "settings": _comparability(study, self.testbed, self.settings),
            "optuna_sampler": self.settings.sampler,
            "trials": len(complete(self.opened)),
            "confirmed_on_fresh_seeds": bool(confirmed),
            "confirm_samples_per_class": study.confirm_per_class,
            "best": best.name,
            "judge_note": self.testbed.judge_note,
            "methods": table_json(confirmed),
        }
        write_atomically(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())
        for one in confirmed:
            samples = one.measured.samples
            picture = sample_picture(samples.x, samples.labels, self.testbed.class_names, title=one.name)
            write_atomically(out / "samples" / f"{study_file_name(one.name)}.png", picture)
        report = out / "report.html"
        html = build_report(study, self.testbed, self.opened, confirmed, best)
        write_atomically(report, html.encode())
        if confirmed:
            table = format_table(HEADINGS, table_rows(confirmed))
            save_note(self.opened, self._note(f"Confirmed on fresh seeds:\n\n```\n{table}\n```"))
        return Outcome(confirmed, best, report)


def study_file_name(name: str) -> str:
    """Return a method's name as a file name: letters, digits, dots and dashes."""
    kept = "".join(letter if letter.isalnum() or letter in ".=" else "-" for letter in name)
    return "-".join(part for part in kept.split("-") if part)


def _comparability(study: Study, testbed: Testbed, settings: RunSettings) -> dict[str, Any]:
    """Return all that makes two trials' scores comparable."""
    return {
        "study": study.name,
        "testbed": testbed.name,
        "judge": testbed.references.extractor,
        "sampler": repr(study.sampler),
        "objectives": ",".join(study.objectives),
        "samples_per_class": study.samples_per_class,
        "seed": settings.seed,
    }


def with_overrides(study: Study, overrides: Mapping[str, Any]) -> Study:
    """Return the study with the settings that are not None replaced.

    Raises:
        GuideGymError: If one is out of range.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    steps = given.pop("num_steps", None)
    return replace(study if steps is None else study.with_steps(steps), **given)
