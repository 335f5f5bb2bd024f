"""Settings by name are checked against the signature of what takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from guidegym import GuideGymError
from guidegym.support.settings import check_range, check_settings, coerce


def _function(
    first: object, *, steps: int, scale: float = 1.0, kind: str | Mapping[str, Any] = "a", on: bool = True
) -> None:
    """Something that takes settings."""


def _anything(*, steps: int = 1, **others: Any) -> None:
    """Something that takes what comes."""


def test_what_fits_is_let_through() -> None:
    check_settings(_function, {"steps": 3, "scale": 2, "kind": {"a": 1}, "on": False}, what="it", but=("first",))
    check_settings(_anything, {"steps": 3, "more": "x"}, what="it")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"speed": 1}, "it takes steps, scale, kind, on; got 'speed'"),
        ({"first": 1}, "it takes steps, scale, kind, on; got 'first'"),
        ({"steps": True}, "`steps` must be a whole number, got True"),
        ({"steps": 2.0}, "`steps` must be a whole number, got 2.0"),
        ({"scale": float("nan")}, "`scale` must be a finite number, got nan"),
        ({"scale": "2"}, "`scale` must be a finite number, got '2'"),
        ({"kind": 3}, "`kind` must be a text or an object, got 3"),
        ({"on": 1}, "`on` must be true or false, got 1"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GuideGymError, match=message):
        check_settings(_function, given, what="it", but=("first",))


def test_a_text_is_no_sequence() -> None:
    coerce("seeds", [1, 2], Sequence[int])
    with pytest.raises(GuideGymError, match="`seeds` must be Sequence, got 'ab'"):
        coerce("seeds", "ab", Sequence[int])


def test_ranges() -> None:
    check_range("x", 1, least=1, most=1)
    for bounds, message in (
        ({"least": 2}, "`x` must be >= 2, got 1"),
        ({"above": 1}, "`x` must be > 1, got 1"),
        ({"least": -1, "most": 0.5}, "`x` must be >= -1 and <= 0.5, got 1"),
    ):
        with pytest.raises(GuideGymError, match=message):
            check_range("x", 1, **bounds)
    with pytest.raises(GuideGymError, match="got nan"):
        check_range("x", float("nan"), least=0)
