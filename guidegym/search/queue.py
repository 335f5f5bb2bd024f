"""The composition of a batch of trials: interrupted trials first, then baselines, then the optimizer's proposals.

The plan of a batch and the optimizer's seed depend on the storage alone: however a search was stopped, it continues like an
uninterrupted one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from guidegym.errors import GuideGymError
from guidegym.search.optimizers import make_optimizer
from guidegym.search.storage import BATCH, OWNER, complete
from guidegym.search.study import GUIDANCE, Study

BASELINE = "guidegym:baseline"
RETRY_OF = "guidegym:retry_of"
PLACE = "guidegym:place"
"""The trial's number in an uninterrupted search, by which it is named."""


@dataclass(frozen=True)
class Planned:
    """A planned trial: its parameters, if known (empty if the optimizer chooses), and its attributes."""

    params: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)


def cut_off(opened: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were fully asked for, but neither finished nor rerun yet."""
    trials = opened.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(RETRY_OF) for trial in trials if trial.state != TrialState.FAIL}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and GUIDANCE in trial.user_attrs]
    # An interrupted retry stands for the trial it retries.
    latest = {trial.user_attrs.get(RETRY_OF, trial.number): trial for trial in failed}
    return [trial for number, trial in sorted(latest.items()) if number not in again]


def plan_batch(opened: optuna.Study, study: Study, *, num_complete: int, size: int) -> list[Planned]:
    """Return the next batch, at most ``size`` trials.

    Args:
        opened: The Optuna study, with none of our trials running.
        study: The study to search.
        num_complete: Number of finished trials.
        size: Number of trials that are sampled together.
    """
    retries = cut_off(opened)
    planned = [Planned(trial.params, _marks_again(trial)) for trial in retries]
    if any(trial.user_attrs.get(BATCH, num_complete) < num_complete for trial in retries):
        return planned[:size]  # part of their batch is finished, so the batch had been fully asked for
    taken = {trial.user_attrs.get(BASELINE) for trial in complete(opened)}
    taken |= {one.marks.get(BASELINE) for one in planned}
    planned += [
        Planned(baseline.params, {BASELINE: baseline.name})
        for baseline in study.baselines
        if baseline.params is not None and baseline.name not in taken
    ]
    planned += [Planned()] * (size - len(planned))
    return planned[:size]


def _marks_again(trial: FrozenTrial) -> dict[str, Any]:
    kept = {key: value for key, value in trial.user_attrs.items() if key in (BASELINE, BATCH, PLACE)}
    return {**kept, RETRY_OF: trial.user_attrs.get(RETRY_OF, trial.number)}


def ask(
    opened: optuna.Study, planned: Planned, *, optimizer: str, seed: int, num_complete: int, position: int, owner: str
) -> Trial:
    """Ask for one planned trial, marked with its owner from its creation.

    Args:
        opened: The Optuna study.
        planned: The planned trial.
        optimizer: Name of the optimizer.
        seed: Seed of the search.
        num_complete: Number of finished trials when the batch began.
        position: Position in the batch.
        owner: Owner of the trial.

    Raises:
        GuideGymError: If the study returns another run's trial.
    """
    opened.sampler = make_optimizer(optimizer, seed=seed, num_complete=num_complete, position=position)
    # A trial that is asked for again stays in its original batch.
    marks = {PLACE: num_complete + position, BATCH: num_complete, **planned.marks, OWNER: owner}
    opened.enqueue_trial(dict(planned.params), user_attrs=marks)
    while (trial := opened.ask()).user_attrs.get(PLACE) != marks[PLACE]:
        if trial.user_attrs.get(OWNER) != owner:
            raise GuideGymError(
                f"study '{opened.study_name}' is being searched by another run; use another --study-name"
            )
        opened.tell(trial, state=TrialState.FAIL)  # queued twice if a connection broke before the first was confirmed
    return trial


def trial_place(trial: Trial | FrozenTrial) -> int:
    """Return a trial's number in an uninterrupted search."""
    return int(trial.user_attrs.get(PLACE, trial.user_attrs.get(RETRY_OF, trial.number)))


def trial_name(trial: Trial | FrozenTrial) -> str:
    """Return a trial's name in tables: its baseline's name, or its place in the search."""
    return str(trial.user_attrs.get(BASELINE, f"trial {trial_place(trial)}"))
