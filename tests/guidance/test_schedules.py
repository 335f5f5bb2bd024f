import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guidegym import DDIM, Constant, GuideGymError, Linear, Power, Sigmoid, Table, VPProcess
from guidegym.guidance import SCHEDULES, Schedule

PROCESS = VPProcess("cosine")
EXAMPLES: dict[str, Schedule] = {
    "constant": Constant(3.0),
    "linear": Linear(start=4.0, end=-1.0),
    "power": Power(scale=5.0, power=2.0),
    "sigmoid": Sigmoid(scale=12.0, y0=0.1, t0=650.0, k=0.01),
    "table": Table(timesteps=(950.0, 600.0, 120.5), weights=(0.5, 7.0, -1.0)),
}


def _plain(schedule: Schedule, t: int) -> float:
    """Each schedule's formula once more, in plain Python, one timestep at a time."""
    if isinstance(schedule, Constant):
        return schedule.value
    if isinstance(schedule, Linear):
        return schedule.start + (schedule.end - schedule.start) * (999 - t) / 999
    if isinstance(schedule, Power):
        noise = 1 - float(PROCESS.alpha_bar(torch.tensor([t]), torch.float64))
        return float(schedule.scale * noise**schedule.power)
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
    assert EXAMPLES.keys() == SCHEDULES.keys()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_its_formula(name: str) -> None:
    t = torch.arange(999, -1, -37)
    wanted = torch.tensor([_plain(EXAMPLES[name], int(one)) for one in t], dtype=torch.float64)
    torch.testing.assert_close(EXAMPLES[name](t, PROCESS), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_steps", [10, 50, 250])
def test_schedule_traces_the_same_curve_at_any_number_of_steps(name: str, num_steps: int) -> None:
    every = EXAMPLES[name](torch.arange(1000), PROCESS)
    grid = DDIM(num_steps).timesteps(PROCESS)[:-1]
    torch.testing.assert_close(EXAMPLES[name](grid, PROCESS), every[grid])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_parameter_that_is_not_finite_is_refused(name: str) -> None:
    for field in dataclasses.fields(EXAMPLES[name]):  # type: ignore[arg-type]
        for wrong in (math.nan, math.inf, -math.inf):
            with pytest.raises(GuideGymError, match=f"`{field.name}` must be a finite number"):
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
    [((), (), "as long, and not empty"), ((1.0,), (1.0, 2.0), "as long"), ((5.0, 9.0), (1.0, 2.0), "must descend")],
)
def test_a_table_that_is_none_is_refused(
    timesteps: tuple[float, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(GuideGymError, match=message):
        Table(timesteps, weights)
