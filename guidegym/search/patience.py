"""Retries for a storage that does not answer; after a timeout the run ends with a one-line error."""

import sys
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.storages import BaseStorage
from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from tqdm import tqdm

from guidegym.errors import GuideGymError
from guidegym.search.address import reason_of

PATIENCE = 60.0
"""Seconds for which calls to an unresponsive storage are retried."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
REFUSALS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""Errors that are definite answers of the storage: a retry would give the same."""


class StorageError(GuideGymError):
    """The storage stopped answering; finished trials are in it, and the same command continues from there."""


def _say(note: str) -> None:
    tqdm.write(f"note: {note}", file=sys.stderr)  # above the progress bar, if there is one


class _Call:
    """A storage call that is retried for a while if the storage does not answer."""

    def __init__(self, call: Callable[..., Any], address: str) -> None:
        self.call, self.address = call, address
        self.changes_state = call.__name__ == "set_trial_state_values"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        began, wait = time.monotonic(), FIRST_WAIT
        answered, answer = self._attempt(arguments, keywords, again=False)
        if answered:
            return answer
        _say(f"the storage does not answer ({answer}); retrying for {PATIENCE:g} s")
        while not answered:
            left = PATIENCE - (time.monotonic() - began)
            if left <= 0:
                raise StorageError(
                    f"the storage has not answered for {PATIENCE:g} s: {answer}; "
                    "finished trials are kept, and the same command continues from there"
                )
            time.sleep(min(wait, left))
            wait = min(2 * wait, LONGEST_WAIT)
            answered, answer = self._attempt(arguments, keywords, again=True)
        _say("the storage answers again")
        return answer

    def _attempt(self, arguments: tuple[Any, ...], keywords: dict[str, Any], *, again: bool) -> tuple[bool, Any]:
        """Return whether the storage answered, and its answer or the reason for none.

        A connection may break after a change was made but before it was confirmed: on a retry of a state change, the storage then
        reports that the trial has already changed. No other process changes our trials.
        """
        try:
            answer = self.call(*arguments, **keywords)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            reason = reason_of(error, self.address)
            if isinstance(error, REFUSALS) or isinstance(error.__cause__, REFUSALS):
                raise StorageError(f"the storage rejected a request: {reason}") from None
            return False, reason
        except optuna.exceptions.UpdateFinishedTrialError:
            if not (again and self.changes_state):
                raise
            return True, True
        return True, (answer or again) if self.changes_state else answer


def patient_storage(address: str) -> BaseStorage:
    """Return Optuna's storage at an address, with every call retried for ``PATIENCE`` seconds.

    Raises:
        Exception: Whatever the library raises if the storage cannot be opened.
    """
    storage = optuna.storages.get_storage(address)
    # Wrap the outermost calls: a cache in front of the database calls it under other names.
    for name in (name for name in vars(BaseStorage) if not name.startswith("_")):
        setattr(storage, name, _Call(getattr(storage, name), address))
    return storage
