"""The files written by a run."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from guidegym.diffusion import sampler_flags
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.ranking import ranked_json
from guidegym.evaluation.sample_sets.methods_pictures import grids
from guidegym.models import Model
from guidegym.report.page import encoded
from guidegym.search.confirm import Confirmed, columns_of
from guidegym.search.storage import complete, ended
from guidegym.search.study import Study
from guidegym.search.study_page import build_report
from guidegym.support.files import file_names, read_json, write_atomically, write_or_remove
from guidegym.support.user_code import import_flags
from guidegym.testbeds import Testbed


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a study.

    Args:
        confirmed: Every method on the fresh seeds, best first; empty if the run was interrupted before.
        best: The best method so far, with its name; None if all methods failed.
        report: The HTML report.
    """

    confirmed: list[Confirmed]
    best: Method | None
    report: Path

    @property
    def failure(self) -> str:
        """What went wrong if no method gave sound samples: counts of the faults."""
        counts: dict[str, int] = {}
        for one in self.confirmed:
            for name, count in (one.of.own.failures or {}).items():
                counts[name] = counts.get(name, 0) + count
        total = sum(len(one.of.own.failed) for one in self.confirmed)
        said = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
        if absurd := sum(not one.failed for one in self.confirmed):
            said.append(f"and {absurd} sets farther from real data than blank ones")
        return f"every method has samples that failed (of {total} samples {', '.join(said)}), so there is no best one"


def holds_confirmed_results(out: Path) -> bool:
    """Return whether ``out`` contains a finished run's results."""
    try:
        return bool(read_json(out / "results.json")["confirmed_on_fresh_seeds"])
    except (GuideGymError, KeyError, TypeError):
        return False


def check_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Check, before sampling, that a run's files can be written to ``out`` without replacing another run's.

    Raises:
        GuideGymError: If something is in the way, or the folder contains results of other settings.
    """
    for name, is_folder in (("best.json", False), ("results.json", False), ("report.html", False), ("samples", True)):
        path = out / name
        if path.exists() and path.is_dir() != is_folder:
            raise GuideGymError(f"{path} is in the way: it must be a {'folder' if is_folder else 'file'}")
    try:
        (out / "artifacts").mkdir(parents=True, exist_ok=True)
        if not (out / "results.json").is_file():
            return
        known = read_json(out / "results.json")["settings"]
        differ = [name for name in settings if known.get(name) != settings[name]]
    except OSError as error:
        raise GuideGymError(f"{out} cannot be written: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GuideGymError(f"{out / 'results.json'} was not written by guidegym; use another --out") from error
    if differ:
        theirs = ", ".join(f"{name} {known.get(name)!r}" for name in differ)
        ours = ", ".join(f"{name} {settings[name]!r}" for name in differ)
        raise GuideGymError(f"{out} holds the results of a run with {theirs}, not {ours}; use another --out")


def replay_command(file: Path, study: Study, best: Method) -> str:
    """Return the command that samples under the best method's guidance file in the same way as the search."""
    sampler = sampler_flags(best.sampler)
    imports = import_flags(best.guidance.to_json() + sampler)
    return (
        f"python -m guidegym.sample {imports}--guidance {shlex.quote(str(file))} --testbed {shlex.quote(study.testbed)} "
        f"{sampler}"
    )


def write_files(
    out: Path,
    study: Study,
    testbed: Model,
    opened: optuna.Study,
    *,
    settings: dict[str, Any],
    confirmed: list[Confirmed],
    best: Method | None,
) -> Outcome:
    """Write ``best.json``, ``results.json``, ``report.html`` and the sample pictures, each atomically, numbers first.

    If all methods failed, there is no ``best.json``.
    """
    outcome, judged = Outcome(confirmed, best, out / "report.html"), isinstance(testbed, Testbed)
    if best is None:
        (out / "best.json").unlink(missing_ok=True)
    else:
        best.guidance.found_on(testbed).save(out / "best.json")
    results = {
        "format": "guidegym-results/1",
        "study": study.name,
        "settings": settings,
        "trials": len(complete(opened)),
        "dropped_trials": len(ended(opened)) - len(complete(opened)),
        "confirmed_on_fresh_seeds": bool(confirmed),
        "confirm_samples_per_class": study.confirm_per_class,
        "best": None if best is None else best.name,
        "best_sampler": None if best is None else repr(best.sampler),
        "replay": None if best is None else replay_command(Path("best.json"), study, best),
        **({"failure": outcome.failure} if best is None else {}),
        "judge_note": testbed.judge_note if isinstance(testbed, Testbed) else "",
        "methods": [
            {**found, "sampler": repr(one.of.method.sampler)}
            for found, one in zip(
                ranked_json(confirmed, columns_of(study.scored_by, judged=judged)), confirmed, strict=True
            )
        ],
    }
    write_atomically(out / "results.json", (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
    files = file_names([one.name for one in confirmed])
    pictures = grids([one.of.own for one in confirmed], testbed)
    for name, file in files.items():
        write_or_remove(out / "samples" / f"{file}.png", pictures.get(name))
    verdict = outcome.failure if best is None else ""
    html = build_report(study, testbed, opened, confirmed, best, pictures=pictures, failure=verdict)
    write_atomically(out / "report.html", encoded(html))
    return outcome
