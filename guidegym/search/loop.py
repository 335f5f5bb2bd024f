"""The batched ask-and-tell loop: a batch of trials is asked for, sampled together, and told."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import optuna
from optuna.trial import Trial, TrialState

from guidegym.guidance import Guidance
from guidegym.sampling import OnRows
from guidegym.search.samplers import make_sampler
from guidegym.search.scoring import Candidate, Measured, Scorer
from guidegym.search.storage import BASELINE, OWNER, complete, give_back, waiting
from guidegym.search.study import Study

GUIDANCE = "guidegym:guidance"


@dataclass(frozen=True)
class LoopSettings:
    """How the loop runs.

    Args:
        num_trials: Finished trials after which it stops, those of earlier runs counted in.
        batch_trials: Trials asked for and sampled together.
        sampler: Name of Optuna's sampler.
        seed: Seed of the search.
        timeout: Seconds after which no new batch is begun; None for no limit.
        owner: Who runs the trials.
    """

    num_trials: int
    batch_trials: int
    sampler: str
    seed: int
    timeout: float | None
    owner: str


OnTrial = Callable[[Trial, Measured], None]
"""Told of each trial right before its values are."""


def search(
    opened: optuna.Study,
    study: Study,
    scorer: Scorer,
    settings: LoopSettings,
    *,
    on_trial: OnTrial,
    on_rows: OnRows | None = None,
) -> None:
    """Run trials until there are enough or the time is up.

    An interrupt gives the trials in hand back to the queue, so that the same command runs them first.
    """
    began = time.monotonic()
    while True:
        done = len(complete(opened))
        if done >= settings.num_trials or (
            settings.timeout is not None and time.monotonic() - began > settings.timeout
        ):
            return
        # Queued trials run in batches of their own: after them the loop stands where it would have stood without a stop.
        size = min(settings.batch_trials, settings.num_trials - done, waiting(opened) or settings.num_trials)
        opened.sampler = make_sampler(settings.sampler, seed=settings.seed, num_complete=done)
        trials: list[Trial] = []
        try:
            guidances = _ask(opened, study, size, settings.owner, trials)
            _score(opened, study, scorer, trials, guidances, on_trial, on_rows)
        except BaseException:
            for trial in trials:
                if opened.trials[trial.number].state == TrialState.RUNNING:
                    give_back(opened, trial)
            raise


def _ask(opened: optuna.Study, study: Study, size: int, owner: str, trials: list[Trial]) -> list[Guidance]:
    """Ask for ``size`` trials, appending each to ``trials`` as it begins, and return their guidances."""
    guidances = []
    for _ in range(size):
        trial = opened.ask()
        trials.append(trial)
        trial.set_user_attr(OWNER, owner)
        guidances.append(study.space(trial))
        trial.set_user_attr(GUIDANCE, guidances[-1].to_json())
    return guidances


def _score(
    opened: optuna.Study,
    study: Study,
    scorer: Scorer,
    trials: list[Trial],
    guidances: list[Guidance],
    on_trial: OnTrial,
    on_rows: OnRows | None,
) -> None:
    """Sample and measure a batch of trials, and tell the study."""
    candidates = [
        Candidate(trial_name(trial), guidance, study.sampler) for trial, guidance in zip(trials, guidances, strict=True)
    ]
    for trial, measured in zip(trials, scorer.measure(candidates, on_rows=on_rows), strict=True):
        trial.set_user_attr("kid", measured.kid)
        trial.set_user_attr("accuracy", measured.accuracy)
        trial.set_user_attr("failed_samples", measured.num_failed)
        trial.set_user_attr("network_evaluations", measured.samples.cost.total)
        on_trial(trial, measured)
        opened.tell(trial, [measured.score(name) for name in study.objectives])


def trial_name(trial: Trial | optuna.trial.FrozenTrial) -> str:
    """Return what a table calls a trial: its baseline's name, or its number."""
    return str(trial.user_attrs.get(BASELINE, f"trial {trial.number}"))


def best_trials(opened: optuna.Study, study: Study, count: int) -> list[Candidate]:
    """Return the best distinct searched trials, best first; for a Pareto search, the best of the front by first objective.

    Baselines are left out: they are confirmed in any case.
    """
    finished = [trial for trial in complete(opened) if BASELINE not in trial.user_attrs]
    if len(study.objectives) > 1:
        front = {trial.number for trial in opened.best_trials}
        finished = [trial for trial in finished if trial.number in front]
    sign = 1 if opened.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1
    ranked: list[Candidate] = []
    for trial in sorted(finished, key=lambda trial: (sign * trial.values[0], trial.number)):
        candidate = Candidate(trial_name(trial), Guidance.from_json(trial.user_attrs[GUIDANCE]), study.sampler)
        if all(replace(candidate, name=other.name) != other for other in ranked):
            ranked.append(candidate)
    return ranked[:count]
