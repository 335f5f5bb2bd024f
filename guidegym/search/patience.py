"""A storage that does not answer at once is waited for; one that does not answer at all ends the run in one line."""

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from guidegym.errors import GuideGymError
from guidegym.search.address import without_passwords

PATIENCE = 60.0
"""Seconds for which a storage that does not answer is asked again."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0


class StorageError(GuideGymError):
    """The storage stopped answering: what is finished lies in it, and the same command goes on from there."""


def _reason(error: BaseException, address: str) -> str:
    """Return what is wrong, in one line: the cause of the library's own wrapper, where there is one."""
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return without_passwords(lines[0], address)


def _patient(call: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Return a call of the storage that is made again for a while where the storage does not answer."""

    def attempt(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, str | None]:
        try:
            return call(*arguments, **keywords), None
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            return None, _reason(error, address)

    @functools.wraps(call)
    def asked(*arguments: Any, **keywords: Any) -> Any:
        began, wait = time.monotonic(), FIRST_WAIT
        answer, wrong = attempt(arguments, keywords)
        while wrong is not None:
            left = PATIENCE - (time.monotonic() - began)
            if left <= 0:
                raise StorageError(
                    f"the storage has not answered for {PATIENCE:.0f} s: {wrong}; "
                    "finished trials are kept, and the same command goes on from there"
                )
            if wait == FIRST_WAIT:
                print(f"note: the storage does not answer ({wrong}); asking again", file=sys.stderr)
            time.sleep(min(wait, left))
            wait = min(2 * wait, LONGEST_WAIT)
            answer, wrong = attempt(arguments, keywords)
        return answer

    return asked


def patient_storage(address: str) -> BaseStorage:
    """Return Optuna's storage at an address, every call of which is tried for ``PATIENCE`` seconds.

    Raises:
        Exception: Whatever the library raises where the storage cannot be opened.
    """
    storage = optuna.storages.get_storage(address)
    backend = getattr(storage, "_backend", storage)  # a cache stands before a database; the database is what fails
    if isinstance(backend, RDBStorage):
        for name in (name for name in vars(BaseStorage) if not name.startswith("_")):
            setattr(backend, name, _patient(getattr(backend, name), address))
    return storage
