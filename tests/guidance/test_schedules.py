import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from guidegym import (
    DDIM,
    Carried,
    Constant,
    Cosine,
    Exponential,
    GuideGymError,
    Interval,
    Knots,
    Linear,
    NoiseInterval,
    Power,
    Sigmoid,
    Stages,
    Table,
    VEProcess,
    VPProcess,
)
from guidegym.guidance import Schedule
from guidegym.registry import names, registered

PROCESS = VPProcess("cosine")
EXAMPLES: dict[str, Schedule] = {
    "constant": Constant(3.0),
    "linear": Linear(start=4.0, end=-1.0),
    "power": Power(scale=5.0, power=2.0),
    "sigmoid": Sigmoid(scale=12.0, y0=0.1, t0=650.0, k=0.01),
    "cosine": Cosine(start=4.0, end=1.0),
    "exponential": Exponential(scale=6.0, rate=2.5),
    "stages": Stages(first=30.1, second=11.3, switch=0.25),
    "interval": Interval(inside=5.1, outside=0.3, start=0.2, end=0.7),
    "noise_interval": NoiseInterval(inside=0.1, outside=3.3, low=0.3, high=2.0),
    "knots": Knots(weights=(1.0, 4.0, 3.5, 0.0)),
    "carried": Carried(Linear(start=4.0, end=-1.0), PROCESS),
    "table": Table(timesteps=(950.0, 600.0, 120.5), weights=(0.5, 7.0, -1.0)),
}


def _hermite(weights: tuple[float, ...], u: float) -> float:
    """Monotone cubic pieces with harmonic-mean slopes inside and a clipped three-point slope at the ends."""
    step = 1 / (len(weights) - 1)
    secant = [(b - a) / step for a, b in itertools.pairwise(weights)]
    inner = [0.0 if a * b <= 0 else 2 * a * b / (a + b) for a, b in itertools.pairwise(secant)]
    ends = []
    for near, far in ((secant[0], secant[1]), (secant[-1], secant[-2])):
        slope = (3 * near - far) / 2
        slope = 0.0 if slope * near <= 0 else slope
        ends.append(3 * near if near * far < 0 and abs(slope) > 3 * abs(near) else slope)
    places = np.linspace(0, 1, len(weights))
    return float(CubicHermiteSpline(places, weights, [ends[0], *inner, ends[1]])(u))


def _plain(schedule: Schedule, t: int) -> float:  # noqa: PLR0911, PLR0912 - one formula a schedule
    """Each schedule's formula once more, in plain Python, one timestep at a time."""
    if isinstance(schedule, Constant):
        return schedule.value
    if isinstance(schedule, Carried):  # from the same process; tests/guidance/test_carried.py has others
        return _plain(schedule.schedule, t)
    if isinstance(schedule, Linear):
        return schedule.start + (schedule.end - schedule.start) * (999 - t) / 999
    if isinstance(schedule, Power):
        noise = 1 - float(PROCESS.alpha_bar(torch.tensor([t]), torch.float64))
        return float(schedule.scale * noise**schedule.power)
    u = (999 - t) / 999
    if isinstance(schedule, Cosine):
        return schedule.end + (schedule.start - schedule.end) * 0.5 * (1 + math.cos(math.pi * u))
    if isinstance(schedule, Exponential):
        return float(schedule.scale * math.exp(-schedule.rate * u))
    if isinstance(schedule, Stages):
        return schedule.first if u < schedule.switch else schedule.second
    if isinstance(schedule, Interval):
        return schedule.inside if schedule.start <= u < schedule.end else schedule.outside
    if isinstance(schedule, NoiseInterval):
        signal = float(PROCESS.alpha_bar(torch.tensor([t]), torch.float64))
        return schedule.inside if schedule.low < math.sqrt(1 / signal - 1) <= schedule.high else schedule.outside
    if isinstance(schedule, Knots):
        return _hermite(schedule.weights, u)
    if isinstance(schedule, Table):
        points = sorted(zip(schedule.timesteps, schedule.weights, strict=True))
        for (left, low), (right, high) in itertools.pairwise(points):
            if left <= t <= right:
                return low + (high - low) * (t - left) / (right - left)
        return points[0][1] if t < points[0][0] else points[-1][1]
    assert isinstance(schedule, Sigmoid)
    bell = (1 - schedule.y0) / (1 + math.exp(-schedule.k * (t - schedule.t0))) + schedule.y0
    return schedule.scale * bell


def test_there_is_an_example_of_every_schedule() -> None:
    assert EXAMPLES.keys() == registered("schedule").keys()


@pytest.mark.parametrize("name", names("schedule"))
def test_schedule_equals_its_formula(name: str) -> None:
    t = torch.arange(999, -1, -37)
    wanted = torch.tensor([_plain(EXAMPLES[name], int(one)) for one in t], dtype=torch.float64)
    torch.testing.assert_close(EXAMPLES[name](t, PROCESS), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", names("schedule"))
@pytest.mark.parametrize("num_steps", [10, 50, 250])
def test_schedule_traces_the_same_curve_at_any_number_of_steps(name: str, num_steps: int) -> None:
    every = EXAMPLES[name](torch.arange(1000), PROCESS)
    grid = DDIM(num_steps).timesteps(PROCESS)[:-1]
    torch.testing.assert_close(EXAMPLES[name](grid, PROCESS), every[grid])


@pytest.mark.parametrize("name", names("schedule"))
def test_a_parameter_that_is_not_finite_is_refused(name: str) -> None:
    for field in dataclasses.fields(EXAMPLES[name]):  # type: ignore[arg-type]
        for wrong in (math.nan, math.inf, -math.inf):
            if isinstance(getattr(EXAMPLES[name], field.name), str | Schedule | VPProcess):
                continue
            with pytest.raises(GuideGymError, match=rf"`{field.name}(\[0\])?` must be a finite number"):
                old = getattr(EXAMPLES[name], field.name)
                new = tuple(wrong for _ in old) if isinstance(old, tuple) else wrong
                dataclasses.replace(EXAMPLES[name], **{field.name: new})  # type: ignore[type-var]


def test_a_sigmoid_with_floor_one_is_a_constant() -> None:
    t = torch.arange(1000)
    flat = Sigmoid(scale=7.0, y0=1.0, t0=500.0, k=0.02)
    torch.testing.assert_close(flat(t, PROCESS), Constant(7.0)(t, PROCESS))


@given(k=st.floats(-10, 10), t0=st.floats(-1e4, 1e4), y0=st.floats(0, 1))
def test_a_sigmoid_stays_between_its_floor_and_its_scale(k: float, t0: float, y0: float) -> None:
    weights = Sigmoid(scale=2.0, y0=y0, t0=t0, k=k)(torch.arange(1000), PROCESS)
    assert bool(weights.isfinite().all())
    assert float(weights.min()) >= 2 * y0 - 1e-9
    assert float(weights.max()) <= 2 + 1e-9


def test_a_short_process_sees_the_same_sigmoid() -> None:
    sigmoid = Sigmoid(scale=1.0, y0=0.0, t0=500.0, k=0.01)
    short = VPProcess("cosine", num_timesteps=100)
    torch.testing.assert_close(
        sigmoid(torch.arange(100), short), sigmoid(torch.arange(0, 1000, 10), VPProcess("cosine"))
    )


def test_a_negative_power_is_refused() -> None:
    with pytest.raises(GuideGymError, match="`power` must be >= 0, got -1"):
        Power(1.0, -1.0)


@pytest.mark.parametrize(
    ("timesteps", "weights", "message"),
    [
        ((), (), "non-empty and of equal length"),
        ((1.0,), (1.0, 2.0), "of equal length"),
        ((5.0, 9.0), (1.0, 2.0), "must be descending"),
    ],
)
def test_a_table_that_is_none_is_refused(
    timesteps: tuple[float, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(GuideGymError, match=message):
        Table(timesteps, weights)


def test_the_ends_of_an_interval_are_as_documented() -> None:
    t = torch.tensor([999, 500, 0])  # u = 0, 0.4995, 1
    assert Interval(1.0, 0.0, 0.0, 1.0)(t, PROCESS).tolist() == [1, 1, 1]
    assert Interval(1.0, 0.0, 0.0, 499 / 999)(t, PROCESS).tolist() == [1, 0, 0]
    assert Interval(1.0, 0.0, 499 / 999, 1.0)(t, PROCESS).tolist() == [0, 1, 1]
    assert Interval(0.0, 2.0, 0.2, 0.9)(t, PROCESS).tolist() == [2, 0, 2]  # off within, and back on
    assert Interval(1.0, 0.0, 0.3, 0.3)(t, PROCESS).tolist() == [0, 0, 0]


def test_a_noise_interval_leaves_out_its_lower_end_and_comes_back() -> None:
    process = VEProcess(0.01, 100.0, num_timesteps=5)  # 0.01, 0.1, 1, 10, 100
    t = torch.arange(5)
    levels = process.sigma(t, torch.float64).tolist()
    assert NoiseInterval(1.0, 0.0, levels[1], levels[3])(t, process).tolist() == [0, 0, 1, 1, 0]
    assert NoiseInterval(0.0, 2.0, levels[1], levels[3])(t, process).tolist() == [2, 2, 0, 0, 2]


def test_power_names_the_same_noise_level_under_both_processes() -> None:
    vp = VPProcess("linear")
    signal = vp.alpha_bar(torch.tensor([300, 700]), torch.float64)
    low, high = (1 / signal - 1).sqrt().tolist()
    ve = VEProcess(low, high, num_timesteps=2)
    power = Power(3.0, 2.0)
    torch.testing.assert_close(power(torch.tensor([0, 1]), ve), power(torch.tensor([300, 700]), vp))


@given(weights=st.lists(st.floats(-5, 20), min_size=2, max_size=6))
def test_monotone_knots_stay_between_neighbours_and_both_shapes_meet_the_knots(weights: list[float]) -> None:
    t = torch.arange(1000)
    curve = Knots(tuple(weights))(t, PROCESS)
    places = (999 - t.double()) / 999 * (len(weights) - 1)
    values = torch.tensor(weights, dtype=torch.float64)
    left = values[places.floor().long().clamp(max=len(weights) - 2)]
    right = values[places.floor().long().clamp(max=len(weights) - 2) + 1]
    assert bool((curve >= torch.minimum(left, right) - 1e-9).all())
    assert bool((curve <= torch.maximum(left, right) + 1e-9).all())
    for shape in ("monotone", "free"):
        ends = Knots(tuple(weights), shape)(torch.tensor([999, 0]), PROCESS)
        torch.testing.assert_close(ends, values[[0, -1]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Interval(1.0, 0.0, 0.6, 0.5), "0 <= start <= end <= 1, got 0.6, 0.5"),
        (lambda: NoiseInterval(1.0, 0.0, -1.0, 0.5), "0 <= low <= high, got -1.0, 0.5"),
        (lambda: Stages(1.0, 0.0, 1.5), r"`switch` must be in \[0, 1\], got 1.5"),
        (lambda: Exponential(1.0, 80.0), "`rate` must be in"),
        (lambda: Knots((1.0,)), "`weights` must have two or more values, got 1"),
        (lambda: Knots((1.0, 2.0), "wild"), "`shape` must be one of monotone, free, got 'wild'"),
    ],
)
def test_what_a_schedule_does_not_allow(wrong: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(GuideGymError, match=message):
        wrong()
