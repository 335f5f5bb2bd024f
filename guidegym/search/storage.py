"""Where trials live: an Optuna study that a killed search leaves whole and the same command goes on with."""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from guidegym.errors import GuideGymError
from guidegym.search.study import OBJECTIVES, Study

SETTINGS = "guidegym:settings"
OWNER = "guidegym:owner"
BASELINE = "guidegym:baseline"


def default_storage(out: Path) -> str:
    """Return the address of the SQLite file in a run's folder."""
    return f"sqlite:///{out / 'study.db'}"


@contextlib.contextmanager
def only_one_search(out: Path) -> Iterator[None]:
    """Hold the run's folder for this process; the system lets go of it even after a kill.

    Raises:
        GuideGymError: If another process holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("w")
    except OSError as error:
        raise GuideGymError(f"{out} cannot be written: {error.strerror}") from error
    with file:
        _lock(file, out)
        yield


def _lock(file: IO[str], out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no fcntl; there two searches in one folder are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise GuideGymError(f"another search is running in {out}; use another --study-name or --out") from error


def open_study(study: Study, *, study_name: str, storage: str, settings: Mapping[str, Any], owner: str) -> optuna.Study:
    """Open the Optuna study, or create it with the baselines as its first trials.

    Trials that an earlier process of this ``owner`` left running are failed and queued again.

    Args:
        study: What is searched.
        study_name: The study's name in the storage.
        storage: Address of the storage, in Optuna's manner.
        settings: All that makes two trials comparable; kept with the study.
        owner: Whose running trials are known to be dead: the folder this process holds.

    Raises:
        GuideGymError: If the storage cannot be opened, or the study in it was run with other settings.
    """
    try:
        opened = optuna.create_study(
            study_name=study_name,
            storage=storage,
            directions=[OBJECTIVES[name] for name in study.objectives],
            load_if_exists=True,
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GuideGymError(f"`--storage` {storage!r} cannot be opened: {reason}") from error
    known = opened.user_attrs.get(SETTINGS)
    wanted = json.loads(json.dumps(dict(settings)))
    if known is None and opened.get_trials(deepcopy=False):
        raise GuideGymError(f"study '{study_name}' in this storage is not guidegym's; use another --study-name")
    if known is not None and known != wanted:
        changed = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
        old = ", ".join(f"{key} {known.get(key)!r}" for key in changed)
        new = ", ".join(f"{key} {wanted.get(key)!r}" for key in changed)
        raise GuideGymError(
            f"study '{study_name}' was run with {old}, not {new}: trials would not be comparable; use another --study-name"
        )
    opened.set_user_attr(SETTINGS, wanted)
    for baseline in study.baselines:
        if baseline.params is not None and not _has_baseline(opened, baseline.name):
            opened.enqueue_trial(dict(baseline.params), user_attrs={BASELINE: baseline.name, OWNER: owner})
    for trial in opened.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(OWNER, owner) == owner:
            give_back(opened, trial)
    return opened


def _has_baseline(opened: optuna.Study, name: str) -> bool:
    return any(trial.user_attrs.get(BASELINE) == name for trial in opened.get_trials(deepcopy=False))


def give_back(opened: optuna.Study, trial: FrozenTrial | Trial) -> None:
    """Fail a trial that was not finished and queue its parameters again, before all new ones."""
    kept = {key: value for key, value in trial.user_attrs.items() if key in (BASELINE, OWNER)}
    if trial.params:
        opened.enqueue_trial(dict(trial.params), user_attrs=kept)
    opened.tell(trial.number, state=TrialState.FAIL)


def waiting(opened: optuna.Study) -> int:
    """Return how many trials are queued: baselines and given-back trials."""
    return len(opened.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def complete(opened: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials in the order they were asked for."""
    return opened.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def owner_of(out: Path) -> str:
    """Return a name for the process that holds ``out``: this machine and that folder."""
    return f"{socket.gethostname()}:{out.resolve()}"
