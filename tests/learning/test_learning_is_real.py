"""Where the best weight depends on the sample, an agent beats every schedule, on episodes it never saw."""

import json
from pathlib import Path

import pytest

from guidegym import Guidance, Table
from guidegym.agent_comparison import compare
from guidegym.envs import make_task
from guidegym.evaluation.measuring.measurement import delta
from guidegym.learning import load_learner
from guidegym.learning.learn import as_guidance

RECORDS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.full
def test_an_agent_beats_the_schedules_that_a_search_of_their_own_found() -> None:
    record = json.loads(sorted(RECORDS.glob("*-learning.json"))[-1].read_text())
    test = make_task(**record["environment"], split="test")
    t = tuple(float(t) for t in test.engine.timesteps[:-1])
    methods = {
        name: Guidance(test.engine.guide, Table(t, tuple(weights)))
        for name, weights in record["schedules"].items()
        if any(weights)
    }
    assert {"tuned sigmoid", "tuned knots"} < set(methods)
    learner = load_learner("group_reinforce", record["environment"], timesteps=1_000_000, seed=11)
    while learner.timesteps < 1_000_000:
        learner.improve()
    methods["agent"] = as_guidance(test, learner.policy())
    reward = {one.name: one.numbers["reward"] for one in compare(test, methods, num=8192, seed=23)}
    for name in methods:
        if name != "agent":
            assert delta(reward["agent"], reward[name]).estimate.low > 0, name
