"""Racing: trials are sampled class by class, or prompt by prompt, and dropped once they are clearly behind the best.

Prompts differ far more from each other than guidances do on one prompt, so that trials are compared prompt by prompt.
"""

import math
from collections.abc import Sequence
from dataclasses import fields

import optuna
import torch
from jaxtyping import Int
from optuna.trial import Trial
from torch import Tensor

from guidegym.core.sampling import OnRows, Samples
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.set_objectives import values_by
from guidegym.models import Model
from guidegym.objectives import Finished, Objective
from guidegym.search.queue import BASELINE
from guidegym.search.scoring import Scored, Scorer
from guidegym.search.study import Study

PRUNERS = ("none", "wilcoxon")
LEAST_CLASSES = 5
"""Fewer pairs cannot tell two trials apart at the level of Optuna's pruner."""
ROUNDS = 4
"""Least number of rounds: a race of fewer would drop trials when most of their samples are drawn."""


def check_pruner(name: str) -> None:
    """Check the name of a pruner.

    Raises:
        GuideGymError: If there is none of that name.
    """
    if name not in PRUNERS:
        raise GuideGymError(f"must be one of {', '.join(PRUNERS)}, got {name!r}", argument="pruner")


def check_race(study: Study, model: Model, *, optimizer: str) -> None:
    """Check that trials of a study can race.

    Raises:
        GuideGymError: If the study has several objectives, its objective is a number of the whole set, the model has too few
            classes or prompts, or the optimizer learns from whole generations of finished trials.
    """
    reason = ""
    if len(study.scored_by) > 1:
        names = ", ".join(one.name for one in study.scored_by)
        reason = f"needs a single objective, got {names}"
    elif model.num_classes < LEAST_CLASSES:
        reason = f"needs at least {LEAST_CLASSES} classes or prompts to compare trials on, got {model.num_classes}"
    elif optimizer == "cmaes":
        reason = "goes with the optimizers tpe, gp and random, got 'cmaes', which learns from whole generations"
    else:
        (objective,) = study.scored_by
        if objective(Finished.blank(model)).ndim == 0:
            reason = f"needs an objective with one number per sample, got '{objective.name}', one of the whole set"
    if reason:
        raise GuideGymError(f"'wilcoxon' {reason}", argument="pruner")


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner: the signed-rank test on pairs (Wilcoxon 1945), or none."""
    return optuna.pruners.WilcoxonPruner() if name == "wilcoxon" else optuna.pruners.NopPruner()


def race(
    scorer: Scorer, trials: Sequence[Trial], methods: Sequence[Method], objective: Objective, *, on_rows: OnRows | None
) -> list[Scored | None]:
    """Sample and score a batch of trials; None for those that were dropped. Baselines stay to the end.

    Each trial reports the mean of every class as the intermediate value of that class's number. The samples of those that
    stay are the same as without a race.

    Args:
        scorer: The rows.
        trials: The trials of a batch.
        methods: The method of each trial.
        objective: An objective with one number per sample.
        on_rows: Called after each step with the number of rows that took it, and with those of dropped trials.
    """
    running = list(range(len(trials)))
    parts: list[list[Samples]] = [[] for _ in trials]
    labels = torch.arange(scorer.rows_of(1)) % scorer.testbed.num_classes
    drawn: list[Tensor] = []
    for classes in rounds(scorer, len(trials)):
        rows = torch.isin(labels, classes).nonzero()[:, 0]
        drawn.append(rows)
        for place, part in zip(
            running, scorer.sample([methods[place] for place in running], rows, on_rows=on_rows), strict=True
        ):
            parts[place].append(part)
            for label, value in _means(scorer.testbed, methods[place], part, objective).items():
                trials[place].report(value, label)
        left = len(labels) - sum(map(len, drawn))
        if not left:
            break
        dropped = [p for p in running if BASELINE not in trials[p].user_attrs and trials[p].should_prune()]
        if on_rows is not None:
            on_rows(left * sum(methods[place].sampler.num_steps for place in dropped))
        running = [place for place in running if place not in dropped]
    order = torch.cat(drawn).argsort()
    whole = [_joined(parts[place], order) for place in running]
    scored = dict(zip(running, scorer.score([methods[place] for place in running], whole), strict=True))
    return [scored.get(place) for place in range(len(trials))]


def rounds(scorer: Scorer, num_trials: int) -> tuple[Int[Tensor, " classes"], ...]:
    """Return the classes of each round, in an order drawn by the search seed: as many as fill a batch, within bounds."""
    num = scorer.testbed.num_classes
    order = torch.randperm(num, generator=torch.Generator().manual_seed(scorer.seed))
    fill = scorer.batch_size // (num_trials * scorer.samples_per_class)
    return tuple(order.split(min(max(fill, 1), math.ceil(num / ROUNDS))))


def _means(model: Model, method: Method, part: Samples, objective: Objective) -> dict[int, float]:
    """Return the objective's mean over the samples of each class."""
    shown = part.x.nan_to_num(0.0)
    cost = part.evaluations.sum(dim=1).to(shown.device)
    finished = Finished(shown, part.labels.to(shown.device), model, method.guidance.guide, evaluations=cost)
    values, labels = values_by(objective, finished, part.failed), part.labels.cpu()
    return {int(label): float(values[labels == label].mean()) for label in labels.unique()}


def _joined(parts: Sequence[Samples], order: Int[Tensor, " rows"]) -> Samples:
    """Return the samples of all rounds in the order of the rows."""
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Samples))
    return Samples(*(torch.cat(own)[order.to(own[0].device)] for own in columns))
