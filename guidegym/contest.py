"""An agent beside what needs no learning, on the same fresh episodes and at counted cost."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidegym.agents.constant import ConstantAgent
from guidegym.agents.greedy import GreedyAgent
from guidegym.agents.random import RandomAgent
from guidegym.distillation import distill
from guidegym.envs import Task, make_task
from guidegym.envs.comparison import HEADINGS, Compared, compare, comparison_rows, interval
from guidegym.envs.play import Act, draw_episodes, play
from guidegym.guidance import Guidance

WEIGHTS = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)
"""Constant weights that are tried, as shares of the largest."""
RATES = (0.0, 0.04, 0.2, 1.0)
"""Constant rates of the degree that are tried, as shares of the largest."""


@dataclass(frozen=True, eq=False)
class Contest:
    """What came out.

    Args:
        compared: The methods, the best first.
        tried: Mean reward of each constant on training episodes.
        lost: What distilling the agent into a schedule loses in reward, with its interval.
    """

    compared: list[Compared]
    tried: dict[str, float]
    lost: tuple[float, float, float]

    headings = HEADINGS

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of texts for the table."""
        return comparison_rows(self.compared)

    @property
    def note(self) -> str:
        """What the table does not say."""
        value, low, high = self.lost
        return (
            f"the agent is ahead of itself distilled by {value:.3g} [{low:.3g}, {high:.3g}] of reward; "
            f"the constant is the best of {len(self.tried)} on training episodes"
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it for a JSON file."""
        return {
            "methods": [
                {
                    "method": one.name,
                    "reward": interval(one.worth),
                    "behind_best": interval(self.compared[0].worth - one.worth),
                    "accuracy": interval(one.hits),
                    "network_evaluations_per_sample": one.cost,
                }
                for one in self.compared
            ],
            "constants": self.tried,
            "distilling_loses": list(self.lost),
        }


def best_constant(task: Task, *, num: int, seed: int) -> tuple[ConstantAgent, dict[str, float]]:
    """Return the constant that earns most on ``num`` episodes of the task, and what each that was tried earns."""
    scale = task.scale
    rates = [0.0] if scale.max_rate is None else [share * scale.max_rate for share in RATES]
    episodes = draw_episodes(task, num, seed=seed)
    agents = [ConstantAgent(share * scale.max_weight, rate) for share, rate in itertools.product(WEIGHTS, rates)]
    earned = [float(play(task, agent, *episodes).total.mean()) for agent in agents]
    tried = {agent.name: reward for agent, reward in zip(agents, earned, strict=True)}
    return agents[max(range(len(agents)), key=earned.__getitem__)], tried


def contest(
    arguments: Mapping[str, Any], *, agent: Path, best: Path, tuned: Mapping[str, Guidance], num: int, seed: int
) -> Contest:
    """Compare an agent with no guidance, the best constant, tuned files, random actions and greedy search.

    The constant is chosen, and the agent distilled, on training episodes.

    Args:
        arguments: Those of the environment.
        agent: Guidance file of the agent.
        best: That of the agent as it was at its best on held-out episodes; it has a row of its own where it is another.
        tuned: Guidance files by name.
        num: Fresh episodes, of the test split.
        seed: Which; those of evaluations during training are under seed 0.
    """
    train, test = make_task(**arguments, split="train"), make_task(**arguments, split="test")
    learned, luckiest = Guidance.load(agent), Guidance.load(best)
    constant, tried = best_constant(train, num=num, seed=seed)
    labels, seeds = draw_episodes(train, num, seed=seed)
    schedule = distill(train.engine.testbed, learned, labels=labels, seeds=seeds, sampler=train.engine.sampler)
    methods: dict[str, Act | Guidance] = {
        "agent": learned,
        **({} if luckiest == learned else {"agent, best held out": luckiest}),
        "agent, distilled": schedule,
        constant.name: constant,
        "greedy": GreedyAgent(),
        "random": RandomAgent(seed),
        "unguided": Guidance(),
        **tuned,
    }
    compared = compare(test, methods, num=num, seed=seed)
    worth = {one.name: one.worth for one in compared}
    return Contest(compared, tried, interval(worth["agent"] - worth["agent, distilled"]))
