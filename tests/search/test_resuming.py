"""A killed search that goes on is the search that was not killed: the same trials under the same names, wherever that was."""

import contextlib
import itertools
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from short_search import quick_search

from guidegym.search import patience
from guidegym.search import trials as loop

NUM_TRIALS = 7


class KilledError(BaseException):
    """What a kill is to the code: nothing after it reaches the storage."""


def _calls_until(kill: float, **wanted: Any) -> int:
    """Search until the storage is called for that time, which is made or not by its number; return how often it was called."""
    original, calls = patience._Call.__call__, 0

    def dies(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < kill:
            return original(self, *arguments, **keywords)
        if calls == kill and calls % 2:
            original(self, *arguments, **keywords)
        raise KilledError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KilledError):
        patch.setattr(patience._Call, "__call__", dies)
        quick_search(**wanted)
    return calls


@pytest.mark.parametrize("optimizer", ["tpe", "cmaes"])
def test_trials_are_those_of_the_unbroken_run_under_their_names_after_kills_anywhere(optimizer: str) -> None:
    with TemporaryDirectory() as folder:
        wanted: dict[str, Any] = {
            "storage": f"sqlite:///{folder}/study.db",
            "num_trials": NUM_TRIALS,
            "optimizer": optimizer,
        }
        calls = _calls_until(math.inf, study="whole", **wanted)
        whole = quick_search(study="whole", **wanted)
        assert [name for name, _, _ in whole] == ["one", *(f"trial {number}" for number in range(1, NUM_TRIALS))]
        numbers = itertools.count()

        @given(st.lists(st.integers(10, calls - 10), min_size=2, max_size=2))
        @settings(max_examples=3, deadline=None, phases=[Phase.generate])
        def killed(kills: list[int]) -> None:
            study = f"killed {next(numbers)}"
            for kill in kills:
                _calls_until(kill, study=study, **wanted)
            assert quick_search(study=study, **wanted) == whole

        killed()


def test_a_batch_that_is_cut_off_twice_stays_the_batch_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after one trial of its three, and again before the second: the next batch begins behind it, and not in it."""
    wanted: dict[str, Any] = {"storage": f"sqlite:///{tmp_path / 'study.db'}", "num_trials": 8}
    whole = quick_search(study="whole", **wanted)
    original, told = loop.tell, 0

    def tell(*arguments: Any) -> None:
        nonlocal told
        if told == 4:
            raise KeyboardInterrupt
        told += 1
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "tell", tell)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                quick_search(study="stopped", **wanted)
    assert quick_search(study="stopped", **wanted) == whole
