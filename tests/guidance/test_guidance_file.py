import json
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidegym import (
    DDIM,
    Carried,
    ClassEnergy,
    Constant,
    Cosine,
    EDMProcess,
    Exponential,
    FileFormatError,
    FlowProcess,
    Guidance,
    GuideGymError,
    Interval,
    Knots,
    Likelihood,
    Linear,
    NoiseInterval,
    Power,
    Sigmoid,
    Stages,
    Table,
    TableProcess,
    VEProcess,
    VPProcess,
)
from guidegym.registry import names

NUMBER = st.floats(allow_nan=False, allow_infinity=False)


# A table is made of its points outside the strategy: the type checker picks the number it looks at at random, which a
# strategy must not do.
def _table(points: Sequence[Any]) -> Table | Knots:
    if not isinstance(points[0], tuple):
        return Knots(tuple(points), "free")
    timesteps, weights = zip(*sorted(points, reverse=True), strict=True)
    return Table(timesteps, weights)


SCHEDULE_VALUES = {
    "constant": st.builds(Constant, NUMBER),
    "linear": st.builds(Linear, NUMBER, NUMBER),
    "power": st.builds(Power, NUMBER, st.floats(0, 100)),
    "sigmoid": st.builds(Sigmoid, NUMBER, NUMBER, NUMBER, NUMBER),
    "cosine": st.builds(Cosine, NUMBER, NUMBER),
    "exponential": st.builds(Exponential, NUMBER, st.floats(-50, 50)),
    "stages": st.builds(Stages, NUMBER, NUMBER, st.floats(0, 1)),
    "interval": st.builds(Interval, NUMBER, NUMBER, st.floats(0, 0.5), st.floats(0.5, 1)),
    "noise_interval": st.builds(NoiseInterval, NUMBER, NUMBER, st.floats(0, 1), st.floats(1, 80)),
    "carried": st.builds(
        Carried,
        st.builds(Linear, NUMBER, NUMBER),
        st.sampled_from(
            [
                VPProcess(),
                VPProcess("cosine", 500),
                VEProcess(),
                EDMProcess(0.01, 50.0),
                FlowProcess(3.0),
                FlowProcess(1.5, last=0.01),
                TableProcess((0.9, 0.5, 0.1), final=0.95, offset=1),
            ]
        ),
    ),
    "knots": st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=6),
    "table": st.lists(
        st.tuples(st.floats(-1, 1000), st.floats(-1e100, 1e100)), min_size=1, max_size=9, unique_by=itemgetter(0)
    ),
}
GOOD = json.loads(Guidance(ClassEnergy("robust"), Sigmoid(12.0, 0.1, 650.0, 0.01)).to_json())


@pytest.mark.parametrize("name", names("schedule"))
def test_every_schedule_survives_the_round_trip_exactly(name: str) -> None:
    @given(weight=SCHEDULE_VALUES[name], guide=st.sampled_from([Likelihood("time_dependent"), ClassEnergy("robust")]))
    def check(weight: Any, guide: Likelihood) -> None:
        guidance = Guidance(guide, _table(weight) if isinstance(weight, list) else weight)
        assert Guidance.from_json(guidance.to_json()) == guidance

    check()


def test_no_guidance_survives_the_round_trip(tmp_path: Path) -> None:
    Guidance().save(tmp_path / "none.json")
    assert Guidance.load(tmp_path / "none.json") == Guidance()


def _changed(**changes: object) -> str:
    return json.dumps({**GOOD, **changes})


def _weight(**changes: object) -> str:
    return json.dumps({**GOOD, "weight": {**GOOD["weight"], **changes}})


BAD = {
    "truncated": (Guidance(ClassEnergy("robust"), Constant(1.0)).to_json()[:50], "is not valid JSON"),
    "empty": ("", "is not valid JSON"),
    "a list": ("[]", "must contain one JSON object, got list"),
    "too deep": ("[" * 100_000, "is nested too deeply|is not valid JSON"),
    "other format": (_changed(format="something/1"), "`format` must be 'guidegym-guidance/1', got 'something/1'"),
    "no format": ("{}", "`format` must be 'guidegym-guidance/1', got None"),
    "format of a wrong type": (_changed(format=1), "`format` must be"),
    "version zero": (_changed(format="guidegym-guidance/0"), "`format` must be"),
    "odd version": (_changed(format="guidegym-guidance/1.5"), "`format` must be"),
    "future version": (_changed(format="guidegym-guidance/2"), "was written by a later version of guidegym"),
    "unknown guide": (
        _changed(guide={"kind": "magic"}),
        "guide: unknown guide 'magic'; known: accumulated, at_clean",
    ),
    "unknown schedule": (
        _changed(weight={"kind": "zigzag"}),
        "weight: unknown schedule 'zigzag'; known: carried, constant",
    ),
    "kind of a wrong type": (_changed(weight={"kind": ["constant"]}), "weight: `kind` must be the name of a schedule"),
    "weight of a wrong type": (_changed(weight=3), "weight must be an object with a `kind`, got 3"),
    "missing key": (json.dumps({k: v for k, v in GOOD.items() if k != "weight"}), "lacks 'weight'"),
    "extra key": (_changed(extra=1), "does not allow 'extra'"),
    "missing parameter": (_changed(weight={"kind": "constant"}), "weight: lacks 'value'"),
    "extra parameter": (_weight(eta=1), "weight: does not allow 'eta'"),
    "NaN": (_weight(k=float("nan")), "numbers must be finite, got NaN"),
    "infinity": (_weight(k=float("inf")), "numbers must be finite, got Infinity"),
    "overflow": (_weight().replace("650.0", "1e999"), "`t0` must be a finite number"),
    "huge whole number": (_weight(t0=10**400), "`t0` must be a finite number"),
    "number of thousands of digits": (
        _weight().replace("650.0", "9" * 5000),
        "too long a number|finite number",
    ),
    "text for a number": (_weight(scale="12"), "`scale` must be a finite number, got '12'"),
    "bool for a number": (_weight(scale=True), "`scale` must be a finite number, got True"),
    "null for a number": (_weight(scale=None), "`scale` must be a finite number, got None"),
    "number for a text": (
        _changed(guide={"kind": "likelihood", "classifier": 3}),
        "`classifier` must be a text, got 3",
    ),
    "empty classifier": (_changed(guide={"kind": "likelihood", "classifier": ""}), "`classifier` must be the name"),
    "weight without a guide": (_changed(guide=None), "`weight` must be the constant 0"),
    "negative power": (_changed(weight={"kind": "power", "scale": 1, "power": -1}), "`power` must be >= 0, got -1.0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_clear_line(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    path = tmp_path / "guidance.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        Guidance.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_missing_or_binary_file_gets_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        Guidance.load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(FileFormatError, match="cannot be read: it is not UTF-8 text"):
        Guidance.load(tmp_path / "binary.json")


def test_whole_numbers_are_numbers() -> None:
    assert Guidance.from_json(_weight(scale=12)) == Guidance.from_json(_weight(scale=12.0))


def test_guidance_without_a_guide_has_no_weight() -> None:
    with pytest.raises(GuideGymError, match="`weight` must be the constant 0"):
        Guidance(None, Constant(1.0))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"guide": "exact"}, "`guide` must be a Guide or None, got 'exact'"),
        ({"guide": Likelihood}, "`guide` must be a Guide or None, got <class"),
        ({"weight": 3.0}, r"`weight` must be a Schedule, got 3\.0"),
        ({"rate": 3}, "`rate` must be a Schedule or None, got 3"),
        ({"target": "uniform"}, "`target` must be a TargetDistribution, got 'uniform'"),
        ({"base_model": "conditional"}, "`base_model` must be a BaseModel, got 'conditional'"),
        ({"guide": None, "weight": Constant(0.0), "rate": Constant(3.0)}, "a `rate` moves the target of a `guide`"),
    ],
)
def test_a_part_of_another_kind_is_refused(wrong: dict[str, Any], said: str, unchecked: None) -> None:
    parts: dict[str, Any] = {"guide": Likelihood("exact"), "weight": Constant(1.0), **wrong}
    with pytest.raises(GuideGymError, match=said):
        Guidance(**parts)


def test_a_rate_below_zero_is_refused_where_it_would_act() -> None:
    for rate in (Constant(-1.0), Linear(10.0, -50.0)):
        with pytest.raises(GuideGymError, match="`rate` must be >= 0 along the whole chain, got -"):
            Guidance(Likelihood("exact"), Constant(1.0), rate=rate).rates(DDIM(5), VPProcess())


def test_curves_given_as_lists_compare_by_value_and_refuse_what_is_no_number(unchecked: None) -> None:
    assert Knots([1.0, 2.0]) == Knots((1.0, 2.0))  # type: ignore[arg-type]
    assert hash(Table([900.0], [1.0])) == hash(Table((900.0,), (1.0,)))  # type: ignore[arg-type]
    for wrong in ("ab", 3, ("a", "b"), (1.0, float("nan"))):
        with pytest.raises(GuideGymError, match=r"`weights(\[0\]|\[1\])?` must be a"):
            Knots(wrong)  # type: ignore[arg-type]
