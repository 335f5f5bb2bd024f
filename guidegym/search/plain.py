"""A study as the objective function of a plain Optuna study."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from guidegym.evaluation.measuring.method import Method
from guidegym.models import Model
from guidegym.search.scoring import Scorer
from guidegym.search.study import GUIDANCE, Study
from guidegym.testbeds import load_model

if TYPE_CHECKING:
    import optuna


def objective(
    study: Study, testbed: Model | None = None, *, seed: int = 0
) -> "Callable[[optuna.trial.Trial], float | tuple[float, ...]]":
    """Return a function of trials for ``optuna.Study.optimize``, with any optimizer, pruner or callbacks.

    Every trial is scored on the same rows (common random numbers), one trial at a time; ``guidegym tune`` samples several
    together, and confirms the best on fresh rows. Each trial keeps its guidance file as the attribute
    ``guidegym:guidance`` and its failed samples as ``failed_samples``.

    Args:
        study: The search space, the sampler and the objectives; its directions are
            ``[objective.direction for objective in study.scored_by]``.
        testbed: The testbed, or a model without judge for objectives of your own; the study's by default.
        seed: Seed of the rows, in 0 .. 2**31 - 1.

    Returns:
        A function that returns the trial's score, or a tuple if the study has several objectives.
    """
    scorer = Scorer(testbed if testbed is not None else load_model(study.testbed), seed, study.samples_per_class)

    def score(trial: "optuna.trial.Trial") -> float | tuple[float, ...]:
        guidance = study.guidance(trial)
        trial.set_user_attr(GUIDANCE, guidance.to_json())
        (scored,) = scorer.measure([Method(str(trial.number), guidance, study.sampler)])
        trial.set_user_attr("failed_samples", scored.own.num_failed)
        values = tuple(scored.score(one) for one in study.scored_by)
        return values[0] if len(values) == 1 else values

    return score
