"""What counts as a number, everywhere one is taken: Python's, NumPy's and torch's, and no booleans, texts or infinities."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import guidegym as gg
from guidegym import Guidance, GuideGymError
from guidegym.envs import GuidanceVectorEnv
from guidegym.registry import registered
from guidegym.support.settings import (
    MAX_WHOLE,
    check_range,
    check_seed,
    finite_number,
    shown,
    true_or_false,
    whole_number,
)

pytestmark = pytest.mark.usefixtures("unchecked")

REQUIRED = {
    "value": 1.0, "start": 0.25, "end": 0.5, "scale": 2.0, "power": 0.5, "y0": 0.125, "t0": 500.0, "k": 0.5, "rate": 1.0,
    "first": 1.0, "second": 2.0, "switch": 0.5, "inside": 3.0, "outside": 0.0, "low": 0.125, "high": 2.0, "share": 0.75,
    "weights": (1.0, 2.0), "timesteps": (900.0, 100.0), "classifier": "exact", "guide": gg.Likelihood("exact"),
    "max_weight": 8.0, "schedule": gg.Constant(1.0), "process": gg.VPProcess(),
}  # fmt: skip
RECORDS = {
    **registered("schedule"),
    **registered("guide"),
    **registered("base_model"),
    **registered("target"),
    **registered("sampler"),
    **{kind.__name__: kind for kind in (gg.VPProcess, gg.VEProcess, gg.ActionScale)},
}
NUMBERS: dict[Any, tuple[Callable[[Any], Any], ...]] = {
    int: (np.int64, np.int32, torch.tensor),
    float: (np.float64, np.float32, torch.tensor, np.array),
}
NO_NUMBERS = (
    True,
    np.bool_(True),
    "1",
    None,
    [1],
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    np.float64("nan"),
    1j,
)


def _example(kind: Any) -> Any:
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    return kind(**{name: REQUIRED[name] for name in needed})


@pytest.mark.parametrize("name", RECORDS)
def test_every_number_of_every_record_may_be_numpy_s_or_torch_s(name: str) -> None:
    record = _example(RECORDS[name])
    for field in dataclasses.fields(record):
        for convert in NUMBERS.get(field.type, ()):
            number = convert(getattr(record, field.name))
            changed = dataclasses.replace(record, **{field.name: number})
            plain = dataclasses.replace(record, **{field.name: number.item()})
            assert (changed, hash(changed), repr(changed)) == (plain, hash(plain), repr(plain))
        if field.type == tuple[float, ...]:
            for as_sequence in (list, np.array, torch.tensor):
                assert dataclasses.replace(record, **{field.name: as_sequence(getattr(record, field.name))}) == record


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_no_number_is_refused_in_one_line_that_names_it(name: str) -> None:
    record = _example(RECORDS[name])
    for field in dataclasses.fields(record):
        for wrong in NO_NUMBERS if field.type in (int, float) else ():
            with pytest.raises(GuideGymError, match=rf"`{field.name}` must be ") as caught:
                dataclasses.replace(record, **{field.name: wrong})
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 200
        for wrong in (1, "true", None) if field.type is bool else ():
            with pytest.raises(GuideGymError, match=rf"`{field.name}` must be true or false"):
                dataclasses.replace(record, **{field.name: wrong})
        for no_sequence in ("12", 3, [True], [None], [[1.0]], {1: 2}) if field.type == tuple[float, ...] else ():
            with pytest.raises(GuideGymError, match=rf"`{field.name}"):
                dataclasses.replace(record, **{field.name: no_sequence})


def test_a_guidance_of_numpy_numbers_writes_the_same_file() -> None:
    plain = Guidance(gg.Likelihood("exact"), gg.Knots((1.0, 2.0, 3.0)))
    other = Guidance(gg.Likelihood("exact"), gg.Knots(np.array([1.0, 2.0, 3.0], dtype=np.float32)))  # type: ignore[arg-type]
    assert other == plain
    assert json.loads(other.to_json()) == json.loads(plain.to_json())


def test_sampling_takes_numpy_s_numbers(exact: gg.Testbed) -> None:
    wanted = gg.sample(exact, labels=[0, 1], seed=5, sampler=gg.DDIM(4)).x
    numbers: Any = {"labels": np.array([0, 1]), "seed": np.int64(5), "batch_size": np.int32(1)}
    steps: Any = np.int64(4)
    got = gg.sample(exact, sampler=gg.DDIM(steps), **numbers)
    torch.testing.assert_close(got.x, wanted)
    for wrong in (True, 1.5, "5", None, 2**64, -1):
        with pytest.raises(GuideGymError, match=r"`seed` must be a whole number in 0..2147483647, got"):
            gg.sample(exact, labels=[0], seed=wrong)  # type: ignore[arg-type]
        with pytest.raises(GuideGymError, match=r"`batch_size` must be a whole number"):
            gg.sample(exact, labels=[0], batch_size=wrong if wrong != 2**64 else 0)  # type: ignore[arg-type]


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_whole_numbers_come_back_as_they_went(number: int) -> None:
    for convert in (int, np.int64, torch.tensor):
        back = whole_number("n", convert(number))
        assert back == number
        assert type(back) is int


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_come_back_as_they_went(number: float) -> None:
    for convert in (float, np.float64, np.array):
        back = finite_number("x", convert(number))
        assert back == number
        assert type(back) is float


@given(st.one_of(st.text(), st.binary(), st.none(), st.booleans(), st.lists(st.integers()), st.complex_numbers()))
def test_nothing_else_is_a_number_and_the_error_is_one_short_line(value: object) -> None:
    for check in (whole_number, finite_number):
        with pytest.raises(GuideGymError) as caught:
            check("n", value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 120


def test_bounds_are_said() -> None:
    with pytest.raises(GuideGymError, match=r"`n` must be a whole number >= 1, got 0"):
        whole_number("n", 0, least=1)
    with pytest.raises(GuideGymError, match=rf"`n` must be a whole number in 1..{MAX_WHOLE}, got {2**64}"):
        whole_number("n", 2**64, least=1)
    with pytest.raises(GuideGymError, match=r"`x` must be > 0, got 0"):
        check_range("x", 0, above=0)
    assert check_seed(np.int64(7)) == 7
    assert true_or_false("b", np.bool_(False)) is False
    assert shown(10**5000).startswith("int that cannot be shown")


def test_environments_take_numpy_s_numbers() -> None:
    three: Any = np.int64(3)
    settings: dict[str, Any] = {"num_steps": three, "max_weight": np.float64(4.0), "evaluation_cost": np.float32(0.5)}
    env = GuidanceVectorEnv(three, observation="features", reward={"confidence": np.float64(2.0)}, **settings)
    plain = GuidanceVectorEnv(
        3, observation="features", reward={"confidence": 2.0}, num_steps=3, max_weight=4.0, evaluation_cost=0.5
    )
    action = np.zeros((3, 1), dtype=np.float32)
    seen = [(one.reset(seed=three), one.step(action)) for one in (env, plain)]
    np.testing.assert_array_equal(seen[0][0][0], seen[1][0][0])
    np.testing.assert_array_equal(seen[0][1][1], seen[1][1][1])
    for wrong in (True, 1.5, "2", None, 0):
        with pytest.raises(GuideGymError, match="`num_envs` must be a whole number >= 1"):
            GuidanceVectorEnv(wrong)  # type: ignore[arg-type]
