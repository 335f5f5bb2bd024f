"""The batched ask-and-tell loop: a batch of trials is asked for, sampled together, and told."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from guidegym.core.sampling import OnRows
from guidegym.evaluation.measuring.method import Method
from guidegym.guidance import Guidance
from guidegym.search.patience import StorageError
from guidegym.search.queue import BASELINE, ask, plan_batch, trial_name
from guidegym.search.racing import make_pruner, race
from guidegym.search.scoring import Scored, Scorer
from guidegym.search.storage import clear_unfinished, complete, ended
from guidegym.search.study import GUIDANCE, Study


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the loop.

    Args:
        num_trials: Number of finished trials at which it stops, including those of earlier runs and those dropped early.
        batch_trials: Trials asked for and sampled together.
        optimizer: Name of the optimizer, one of ``OPTIMIZERS``.
        seed: Seed of the search.
        timeout: Seconds after which no new batch starts; None for no limit.
        owner: Owner of the trials.
        pruner: Name of the pruner, one of ``PRUNERS``.
    """

    num_trials: int
    batch_trials: int
    optimizer: str
    seed: int
    timeout: float | None
    owner: str
    pruner: str = "none"


OnTrial = Callable[[Trial, Scored], None]
"""Called with each trial right before its values are told."""


def search(
    opened: optuna.Study,
    study: Study,
    scorer: Scorer,
    settings: SearchSettings,
    *,
    on_trial: OnTrial,
    on_rows: OnRows | None = None,
) -> None:
    """Run trials until there are enough or the time limit is reached.

    An interrupt marks the running trials as failed; the same command reruns them first.
    """
    began = time.monotonic()
    opened.pruner = make_pruner(settings.pruner)
    while True:
        done = len(ended(opened))
        late = settings.timeout is not None and time.monotonic() - began > settings.timeout
        if done >= settings.num_trials or late:
            return
        size = min(settings.batch_trials, settings.num_trials - done)
        trials: list[Trial] = []
        try:
            for position, planned in enumerate(plan_batch(opened, study, num_complete=done, size=size)):
                trial = ask(
                    opened,
                    planned,
                    optimizer=settings.optimizer,
                    seed=settings.seed,
                    num_complete=done,
                    position=position,
                    owner=settings.owner,
                )
                trials.append(trial)
                trial.set_user_attr(GUIDANCE, study.guidance(trial).to_json())
            _score(opened, study, scorer, trials, on_trial, on_rows, racing=settings.pruner != "none")
        except StorageError:
            raise  # the storage cannot be told; the next run clears this run's unfinished trials
        except BaseException:
            clear_unfinished(opened, settings.owner)
            raise


def _score(
    opened: optuna.Study,
    study: Study,
    scorer: Scorer,
    trials: list[Trial],
    on_trial: OnTrial,
    on_rows: OnRows | None,
    *,
    racing: bool,
) -> None:
    """Sample and measure a batch of trials, and tell the study."""
    candidates = [
        Method(trial_name(trial), Guidance.from_json(trial.user_attrs[GUIDANCE]), study.sampler) for trial in trials
    ]
    scored: Sequence[Scored | None]
    if racing:
        scored = race(scorer, trials, candidates, study.scored_by[0], on_rows=on_rows)
    else:
        scored = scorer.measure(candidates, on_rows=on_rows)
    for trial, measured in zip(trials, scored, strict=True):
        if measured is None:
            opened.tell(trial, state=TrialState.PRUNED)
        else:
            on_trial(trial, measured)
            tell(opened, study, trial, measured)


def tell(opened: optuna.Study, study: Study, trial: Trial, measured: Scored) -> None:
    """Record a trial's measurements and tell the study its values."""
    if measured.scorer.judged:
        trial.set_user_attr("kid", measured.kid)
        trial.set_user_attr("accuracy", measured.accuracy)
    trial.set_user_attr("failed_samples", measured.own.num_failed)
    trial.set_user_attr("sound", measured.sound)
    trial.set_user_attr("network_evaluations", int(measured.own.evaluations.sum()))
    opened.tell(trial, [measured.score(objective) for objective in study.scored_by])


def _beats(one: FrozenTrial, other: FrozenTrial, signs: list[int]) -> bool:
    """Return whether a trial is at least as good as another in every objective, and better in one."""
    own, theirs = ([sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in (one, other))
    return own != theirs and all(mine <= yours for mine, yours in zip(own, theirs, strict=True))


def best_trials(
    opened: optuna.Study, study: Study, count: int, *, with_baselines: bool = False, sound: bool = False
) -> list[Method]:
    """Return the best distinct searched trials, best first; for a Pareto search, the best on the front by first objective.

    Baselines are left out by default because they are always confirmed. ``sound`` leaves out failed trials.
    """
    finished = [trial for trial in complete(opened) if with_baselines or BASELINE not in trial.user_attrs]
    finished = [
        trial
        for trial in finished
        if not sound or trial.user_attrs.get("sound", not trial.user_attrs.get("failed_samples"))
    ]
    signs = [int(-objective.sign) for objective in study.scored_by]
    if len(signs) > 1:
        finished = [trial for trial in finished if not any(_beats(other, trial, signs) for other in finished)]
    sign = signs[0]
    ranked: list[Method] = []
    for trial in sorted(finished, key=lambda trial: (sign * trial.values[0], trial.number)):
        candidate = Method(trial_name(trial), Guidance.from_json(trial.user_attrs[GUIDANCE]), study.sampler)
        if all(replace(candidate, name=other.name) != other for other in ranked):
            ranked.append(candidate)
    return ranked[:count]
