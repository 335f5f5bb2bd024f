"""Comparison of an agent with baselines that need no training, on the same fresh episodes and at counted cost."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from guidegym.agents.constant import ConstantAgent
from guidegym.agents.greedy import GreedyAgent
from guidegym.agents.random import RandomAgent
from guidegym.core.sampling import Samples, samples_of
from guidegym.envs import Task, make_task
from guidegym.envs.play import Act, draw_episodes, follow, play
from guidegym.evaluation.measuring.measurement import Measurement, delta
from guidegym.evaluation.measuring.method import Method, sample_methods
from guidegym.evaluation.measuring.ranking import Column, Standing, rank, ranked_json
from guidegym.guidance import Guidance
from guidegym.learning.distillation import distill
from guidegym.metrics.resampling import Estimate, interval_around, resampling_weights
from guidegym.objectives import Finished
from guidegym.testbeds import Testbed

RESAMPLES = 1000
COLUMNS = (Column("reward", "reward"), Column("accuracy", "accuracy", share=True))
"""Metrics of each method: the reward, minus the cost of network evaluations, and the accuracy under the judge, if any."""
WEIGHTS = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)
"""Constant weights to try, as shares of the largest."""
RATES = (0.0, 0.04, 0.2, 1.0)
"""Constant rates of the target to try, as shares of the largest."""
Compared: TypeAlias = Standing[Act | Guidance]
"""One method's results on the fresh episodes."""


def compare(task: Task, methods: Mapping[str, Act | Guidance], *, num: int, seed: int) -> list[Compared]:
    """Measure methods on the same ``num`` episodes of the task's split, best first."""
    labels, seeds = draw_episodes(task, num, seed=seed)
    weights = resampling_weights(1, num, resamples=RESAMPLES, seed=0)[:, 0]
    compared = []
    for name, method in methods.items():
        samples = _episodes(task, name, method, labels, seeds)
        cost = samples.cost.total / num + getattr(method, "evaluations_per_step", 0) * task.engine.sampler.num_steps
        reward = _reward(task, samples) - task.reward.evaluation_cost * cost
        numbers = {"reward": Measurement.mean(reward, weights)}
        if isinstance(task.engine.model, Testbed):
            hits = task.engine.model.seen(samples.x).hits(samples.labels) & ~samples.failed
            numbers["accuracy"] = Measurement.mean(hits.cpu(), weights)
        compared.append(Standing(method, name, numbers, cost, failed=int(samples.failed.sum())))
    return rank(compared, by="reward", lower_is_better=False)


def _episodes(
    task: Task, name: str, method: Act | Guidance, labels: Int[Tensor, " rows"], seeds: Int[Tensor, " rows"]
) -> Samples:
    """Return the final samples of a method's episodes."""
    act = _act(method)
    if act is not None:
        return samples_of(play(task, act, labels, seeds).state)
    assert isinstance(method, Guidance)
    engine = task.engine
    return sample_methods(engine.model, [Method(name, method, engine.sampler)], labels=labels, seeds=seeds)[0]


def _act(method: Act | Guidance) -> Act | None:
    """Return the ``Act`` of a method that must be played; None for one that plain sampling supports."""
    if not isinstance(method, Guidance):
        return method
    policy = method.policy
    return None if policy is None or policy.environment == "guidance" else follow(policy)


def _reward(task: Task, samples: Samples) -> Tensor:
    """Return the reward of each sample; for a set-level measure, its effect on the mean."""
    model, x, labels = task.engine.model, samples.x, samples.labels
    value = torch.full((len(x),), task.reward.floor, device=x.device)
    sound = (~samples.failed).nonzero()[:, 0]
    if len(sound):
        cost = samples.evaluations.sum(dim=1)[sound]
        finished = Finished(x[sound], labels[sound], model, task.engine.guide, evaluations=cost)
        value[sound] = task.reward.value(finished, spread=True)
    return value.cpu()


@dataclass(frozen=True, eq=False)
class AgentComparison:
    """The results of a comparison.

    Args:
        compared: The methods, best first.
        tried: Mean reward of each constant on training episodes.
        lost: Reward lost by distilling the agent into a schedule; None if its actions go beyond a schedule's.
    """

    compared: list[Compared]
    tried: dict[str, float]
    lost: Estimate | None

    @property
    def columns(self) -> list[Column]:
        """Columns of the table."""
        return [column for column in COLUMNS if column.name in self.compared[0].numbers]

    @property
    def note(self) -> str:
        """A note to the table."""
        constant = f"the constant is the best of {len(self.tried)} on training episodes"
        if self.lost is None:
            return constant
        return f"the agent is ahead of itself distilled by {self.lost.text()} of reward; {constant}"

    def to_json(self) -> dict[str, Any]:
        """Return the results for a JSON file."""
        return {
            "methods": ranked_json(self.compared, self.columns),
            "constants": self.tried,
            "distilling_loses": None if self.lost is None else self.lost.to_json(),
        }


def best_constant(task: Task, *, num: int, seed: int) -> tuple[ConstantAgent, dict[str, float]]:
    """Return the constant with the highest reward on ``num`` episodes of the task, and the reward of each one tried."""
    scale = task.scale
    rates = [0.0] if scale.max_rate is None else [share * scale.max_rate for share in RATES]
    episodes = draw_episodes(task, num, seed=seed)
    agents = [ConstantAgent(share * scale.max_weight, rate) for share, rate in itertools.product(WEIGHTS, rates)]
    earned = [float(play(task, agent, *episodes).total.mean()) for agent in agents]
    tried = {agent.name: reward for agent, reward in zip(agents, earned, strict=True)}
    return agents[max(range(len(agents)), key=earned.__getitem__)], tried


def compare_agents(
    arguments: Mapping[str, Any], *, agent: Path, best: Path, tuned: Mapping[str, Guidance], num: int, seed: int
) -> AgentComparison:
    """Compare an agent with no guidance, the best constant, tuned files, random actions and greedy search.

    The constant is chosen, and the agent distilled, on training episodes.

    Args:
        arguments: Arguments of the environment.
        agent: Guidance file of the agent.
        best: Guidance file of the agent with the best held-out reward; it gets its own row if it differs.
        tuned: Guidance files by name.
        num: Number of fresh episodes, from the test split.
        seed: Their seed; evaluations during training use seed 0.
    """
    train, test = make_task(**arguments, split="train"), make_task(**arguments, split="test")
    learned, luckiest = Guidance.load(agent), Guidance.load(best)
    constant, tried = best_constant(train, num=num, seed=seed)
    schedule = None
    if _act(learned) is None:
        labels, seeds = draw_episodes(train, num, seed=seed)
        schedule = distill(train.engine.model, learned, labels=labels, seeds=seeds, sampler=train.engine.sampler)
    methods: dict[str, Act | Guidance] = {
        "agent": learned,
        **({} if luckiest == learned else {"agent, best held out": luckiest}),
        **({} if schedule is None else {"agent, distilled": schedule}),
        constant.name: constant,
        "greedy": GreedyAgent(),
        "random": RandomAgent(seed),
        "unguided": Guidance(),
        **tuned,
    }
    compared = compare(test, methods, num=num, seed=seed)
    reward = {one.name: one.numbers["reward"] for one in compared}
    if schedule is None:
        return AgentComparison(compared, tried, None)
    lost = delta(reward["agent"], reward["agent, distilled"], interval=interval_around)
    return AgentComparison(compared, tried, lost.estimate)
