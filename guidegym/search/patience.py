"""A storage that does not answer at once is waited for; one that does not answer at all ends the run in one line."""

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
"""Seconds for which a storage that does not answer is asked again."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
REFUSALS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What a storage says when it has answered: the same question would get the same answer."""


class StorageError(GuideGymError):
    """The storage stopped answering: what is finished lies in it, and the same command continues from there."""


def _say(note: str) -> None:
    tqdm.write(f"note: {note}", file=sys.stderr)  # above a progress bar, where there is one


class _Call:
    """A call of the storage that is made again for a while where the storage does not answer."""

    def __init__(self, call: Callable[..., Any], address: str) -> None:
        self.call, self.address = call, address
        self.changes_state = call.__name__ == "set_trial_state_values"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        began, wait = time.monotonic(), FIRST_WAIT
        answered, answer = self._attempt(arguments, keywords, again=False)
        if answered:
            return answer
        _say(f"the storage does not answer ({answer}); it is asked again for {PATIENCE:g} s")
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
        """Return whether the storage answered, and what; or why it did not.

        A connection may break after a change was made and before that was said: asked again to change a trial's state, the
        storage then says that it has changed already. Nobody else changes a trial of ours.
        """
        try:
            answer = self.call(*arguments, **keywords)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            reason = reason_of(error, self.address)
            if isinstance(error, REFUSALS) or isinstance(error.__cause__, REFUSALS):
                raise StorageError(f"the storage refuses what it is asked: {reason}") from None
            return False, reason
        except optuna.exceptions.UpdateFinishedTrialError:
            if not (again and self.changes_state):
                raise
            return True, True
        return True, (answer or again) if self.changes_state else answer


def patient_storage(address: str) -> BaseStorage:
    """Return Optuna's storage at an address, every call of which is tried for ``PATIENCE`` seconds.

    Raises:
        Exception: Whatever the library raises where the storage cannot be opened.
    """
    storage = optuna.storages.get_storage(address)
    # The outermost calls: a cache stands before the database, and asks it by other names.
    for name in (name for name in vars(BaseStorage) if not name.startswith("_")):
        setattr(storage, name, _Call(getattr(storage, name), address))
    return storage
