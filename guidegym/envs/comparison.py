"""Methods side by side on the same fresh episodes: what each earns, how sure the judge is, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.envs.play import Act, draw_episodes, play
from guidegym.envs.task import Task
from guidegym.guidance import Guidance
from guidegym.sampling import sample
from guidegym.testbeds import judge_features

RESAMPLES = 1000
HEADINGS = ("method", "reward", "behind best", "accuracy", "cost")


@dataclass(frozen=True, eq=False)
class Compared:
    """One method on the fresh episodes.

    Args:
        name: What the table calls it.
        worth: What each sample is worth, its network evaluations taken off; for a measure of sets what it does to the mean.
        hits: Rows that the judge takes for the wanted class.
        cost: Network evaluations a row, those of a search inside the method counted in.
    """

    name: str
    worth: Float[Tensor, " rows"]
    hits: Float[Tensor, " rows"]
    cost: float


def compare(task: Task, methods: Mapping[str, Act | Guidance], *, num: int, seed: int) -> list[Compared]:
    """Measure methods on the same ``num`` episodes of the task's split, the best first.

    Args:
        task: The task.
        methods: By name, what chooses actions or a guidance to sample under.
        num: Episodes.
        seed: Which episodes.
    """
    labels, seeds = draw_episodes(task, num, seed=seed)
    compared = []
    testbed, sampler = task.engine.testbed, task.engine.sampler
    for name, method in methods.items():
        if isinstance(method, Guidance):
            samples = sample(testbed, method, labels=labels, seeds=seeds, sampler=sampler)
            x, failed, total = samples.x, samples.failed, samples.cost.total
        else:
            state = play(task, method, labels, seeds).state
            search = getattr(method, "evaluations_per_step", 0) * sampler.num_steps * num
            x, failed, total = state.x, state.failed, state.cost.total + search
        worth = torch.full((num,), task.reward.floor, device=x.device)
        sound = (~failed).nonzero()[:, 0]
        if len(sound):
            worth[sound] = task.reward.influence(task.engine, x[sound], labels.to(x.device)[sound])
        predicted = testbed.judged(judge_features(testbed.judge, x)).argmax(dim=1)
        hits = ((predicted == labels.to(x.device)) & ~failed).float()
        cost = total / num
        compared.append(Compared(name, (worth - task.reward.evaluation_cost * cost).cpu(), hits.cpu(), cost))
    return sorted(compared, key=lambda one: -float(one.worth.mean()))


def interval(values: Float[Tensor, " rows"], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean over rows and its 95 % bootstrap interval; equal seeds draw equal rows."""
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=torch.Generator().manual_seed(seed))
    means = values.double()[drawn].mean(dim=1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(values.double().mean()), low, high


def comparison_rows(compared: list[Compared]) -> list[tuple[str, ...]]:
    """Return one row of texts a method, with 95 % bootstrap intervals; the second is paired with the best."""

    def text(values: Tensor, scale: float = 1.0) -> str:
        value, low, high = (scale * one for one in interval(values))
        return f"{value:.3g} [{low:.3g}, {high:.3g}]"

    best = compared[0]
    return [
        (
            one.name,
            text(one.worth),
            "" if one is best else text(best.worth - one.worth),
            text(one.hits, 100) + " %",
            f"{one.cost:.0f}",
        )
        for one in compared
    ]
