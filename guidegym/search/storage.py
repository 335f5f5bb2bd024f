"""Storage of trials: an Optuna study that survives a killed search and from which the same command continues."""

import contextlib
import json
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from guidegym.errors import GuideGymError
from guidegym.search.address import reason_of, shown_address
from guidegym.search.patience import patient_storage
from guidegym.search.study import GUIDANCE, Study
from guidegym.support.files import only_one, write_atomically

SETTINGS = "guidegym:settings"
OWNER = "guidegym:owner"
BATCH = "guidegym:batch"
"""Number of finished trials when a trial's batch began."""
BASELINE_SCORES = "guidegym:baseline_scores"


def default_storage(out: Path) -> str:
    """Return the address of the SQLite file in a run's folder.

    Raises:
        GuideGymError: If the folder's name contains a character that ends the file name in such an address.
    """
    if "?" in str(out):
        raise GuideGymError(
            f"must not contain a '?', which ends the file name in SQLite addresses, got {str(out)!r}", argument="out"
        )
    return f"sqlite:///{out / 'study.db'}"


def only_one_search(out: Path) -> AbstractContextManager[None]:
    """Lock the run's folder for this process; see ``only_one``."""
    return only_one(out / ".lock", busy=f"another search is running in {out}; use another --study-name or --out")


def open_study(study: Study, *, study_name: str, storage: str, settings: Mapping[str, Any], owner: str) -> optuna.Study:
    """Open or create the Optuna study; no trial of this ``owner`` is left running.

    Args:
        study: The study to search.
        study_name: The study's name in the storage.
        storage: Address of the storage, in Optuna's format.
        settings: The settings that comparable trials must share; stored with the study.
        owner: The run whose folder this process has locked: its running trials are known to be dead.

    Raises:
        GuideGymError: If the storage cannot be opened, or its study was run with other settings or is in use by another
            search.
    """
    try:
        opened = optuna.create_study(
            study_name=study_name,
            storage=patient_storage(storage),
            directions=[objective.direction for objective in study.scored_by],
            load_if_exists=True,
        )
    except Exception as error:
        # Not chained: the error may contain the password.
        raise GuideGymError(
            f"{shown_address(storage)!r} cannot be opened: {reason_of(error, storage)}", argument="storage"
        ) from None
    known = opened.user_attrs.get(SETTINGS)
    wanted = json.loads(json.dumps(dict(settings)))
    if known is None and opened.get_trials(deepcopy=False):
        raise GuideGymError(f"study '{study_name}' in this storage is not guidegym's; use another --study-name")
    if known is not None and not isinstance(known, dict):
        raise GuideGymError(f"study '{study_name}' in this storage is damaged: its settings are not an object")
    if known is not None and known != wanted:
        changed = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
        old = ", ".join(f"{key} {known.get(key)!r}" for key in changed)
        new = ", ".join(f"{key} {wanted.get(key)!r}" for key in changed)
        raise GuideGymError(
            f"study '{study_name}' was run with {old}, not {new}: trials would not be comparable; "
            "use another --out, and another --study-name in a storage that both share"
        )
    opened.set_user_attr(SETTINGS, wanted)
    clear_unfinished(opened, owner)
    return opened


def clear_unfinished(opened: optuna.Study, owner: str) -> None:
    """Mark as failed the trials of this ``owner`` that were queued or running when it stopped; the loop reruns them.

    Raises:
        GuideGymError: If another owner has unfinished trials: only one search at a time may use a study.
    """
    unfinished = opened.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    foreign = [trial.number for trial in unfinished if trial.user_attrs.get(OWNER) != owner]
    if foreign:
        raise GuideGymError(
            f"study '{opened.study_name}' has unfinished trials of another search ({', '.join(map(str, foreign))}); "
            "use another --study-name, or mark them as failed in the dashboard"
        )
    for trial in unfinished:
        opened.tell(opened.ask() if trial.state == TrialState.WAITING else trial.number, state=TrialState.FAIL)


def baseline_scores(opened: optuna.Study) -> dict[str, dict[str, float]]:
    """Return the search-seed scores of baselines outside the search space."""
    scores: Any = opened.user_attrs.get(BASELINE_SCORES, {})
    sound = isinstance(scores, dict) and all(
        isinstance(own, dict) and all(isinstance(one, float) for one in own.values()) for own in scores.values()
    )
    if not sound:
        raise GuideGymError(
            f"study '{opened.study_name}' in this storage is damaged: its baselines' scores are not numbers"
        )
    found: dict[str, dict[str, float]] = scores
    return found


def keep_baseline_score(opened: optuna.Study, name: str, scores: dict[str, float]) -> None:
    """Store with the study the scores of a baseline outside the search space."""
    opened.set_user_attr(BASELINE_SCORES, {**baseline_scores(opened), name: scores})


def save_note(opened: optuna.Study, text: str) -> None:
    """Save the study's note for the dashboard, if the dashboard is installed."""
    with contextlib.suppress(ModuleNotFoundError):
        from optuna_dashboard import save_note as keep

        keep(opened, text)


def complete(opened: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials of searches in the order they were asked for; others have no guidance."""
    finished = opened.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in finished if GUIDANCE in trial.user_attrs]


def ended(opened: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of searches that need no more samples: complete ones, and those that were dropped early."""
    trials = opened.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [trial for trial in trials if GUIDANCE in trial.user_attrs]


def foreign_trials(opened: optuna.Study) -> int:
    """Return the number of finished trials that were not added by a search."""
    return len(opened.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) - len(complete(opened))


def owner_of(out: Path) -> str:
    """Return the name under which the run in ``out`` owns its trials, created once and kept in the folder.

    It outlives the process and moves with the folder; only one process at a time locks the folder.
    """
    path = out / ".owner"
    if not path.is_file():
        write_atomically(path, uuid.uuid4().hex.encode())
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise GuideGymError(f"{path} is damaged; remove it to continue") from error
