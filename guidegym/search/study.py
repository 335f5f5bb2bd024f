"""The Study record: a search space, its baselines, an objective, a testbed and a sampler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guidegym.diffusion import Sampler, sampler_name, with_steps
from guidegym.errors import GuideGymError
from guidegym.guidance import Guidance
from guidegym.objectives import Objective, find_objective
from guidegym.support.settings import check_name, plain_fields, shown, whole_number

if TYPE_CHECKING:
    import optuna

GUIDANCE = "guidegym:guidance"
"""The guidance of a trial, as JSON: set for trials of a search, missing for trials added by others."""
MOST = 1_000_000
"""Upper bound on trials and on samples per class; a larger number is taken for a typing error."""


@dataclass(frozen=True)
class Baseline:
    """A guidance that the search must beat.

    Args:
        name: Its name in tables.
        guidance: The guidance.
        sampler: Its own diffusion sampler; None for the study's.
        params: Its parameters in the search space, if it lies within: it is then among the study's first trials, and
            the search learns from it.
    """

    name: str
    guidance: Guidance
    sampler: Sampler | None = None
    params: Mapping[str, float | str] | None = None


@dataclass(frozen=True)
class Study:
    """A search space with its testbed, sampler, baselines, objectives and sample sizes.

    Args:
        name: Its name.
        description: One line for lists and the study's note.
        testbed: Name of the testbed it was made for.
        sampler: The diffusion sampler of every trial.
        space: Asks a trial for parameters and returns the guidance they describe.
        baselines: Methods to compare the search with, measured first.
        objectives: Objectives of trials, as names, references or ``Objective``; more than one makes a Pareto search.
        num_trials: Trials of a default run, including baselines within the search space.
        samples_per_class: Samples per class that a trial is scored on, >= 2.
        confirm_per_class: Fresh samples per class that the best and the baselines are measured on, >= 2.

    Raises:
        GuideGymError: If a number is out of range, an objective is unknown, or two baselines share a name.
    """

    name: str
    description: str
    testbed: str
    sampler: Sampler
    space: "Callable[[optuna.trial.BaseTrial], Guidance]"
    baselines: tuple[Baseline, ...] = ()
    objectives: tuple[Objective, ...] | tuple[str, ...] = ("kid",)
    num_trials: int = 32
    samples_per_class: int = 8
    confirm_per_class: int = 20

    def __post_init__(self) -> None:
        plain_fields(self)
        check_name(self.name)
        for sampler in (self.sampler, *(one.sampler for one in self.baselines if one.sampler is not None)):
            if not isinstance(sampler, Sampler):
                raise GuideGymError(f"`sampler` must be a Sampler, got {shown(sampler)}")
            sampler_name(sampler)  # the replay command and the files of a run must be able to name it
        if not callable(self.space):
            raise GuideGymError(f"`space` must be a function from a trial to a Guidance, got {shown(self.space)}")
        for name, least in (("num_trials", 1), ("samples_per_class", 2), ("confirm_per_class", 2)):
            whole_number(name, getattr(self, name), least=least, most=MOST)
        given: object = self.objectives
        if isinstance(given, str) or not isinstance(given, Sequence) or len(given) == 0:
            raise GuideGymError(f"must be one or more objectives, got {shown(given)}", argument="objectives")
        found = tuple(find_objective(one) for one in given)
        if len({objective.name for objective in found}) != len(found):
            said = shown([one.name for one in found])
            raise GuideGymError(f"must have different names, got {said}", argument="objectives")
        object.__setattr__(self, "objectives", found)
        names = [baseline.name for baseline in self.baselines]
        if len(set(names)) != len(names):
            raise GuideGymError(f"`baselines` must have different names, got {names}")

    @property
    def scored_by(self) -> tuple[Objective, ...]:
        """The objectives as ``Objective`` records."""
        return tuple(find_objective(one) for one in self.objectives)

    def guidance(self, trial: "optuna.trial.BaseTrial") -> Guidance:
        """Return the guidance that a trial's parameters describe.

        Raises:
            GuideGymError: If the space does not return a ``Guidance``.
        """
        described: object = self.space(trial)
        if not isinstance(described, Guidance):
            raise GuideGymError(
                f"`space` of study '{self.name}' must return a Guidance, got {type(described).__name__}"
            )
        return described

    def with_steps(self, num_steps: int) -> "Study":
        """Return the study with another chain length, its baselines' own samplers included."""
        return replace(
            self,
            sampler=with_steps(self.sampler, num_steps),
            baselines=tuple(
                replace(b, sampler=None if b.sampler is None else with_steps(b.sampler, num_steps))
                for b in self.baselines
            ),
        )

    def with_sampler(self, sampler: Sampler) -> "Study":
        """Return the study with another diffusion sampler; baselines with their own sampler keep it."""
        baselines = (replace(b, sampler=None) if b.sampler == self.sampler else b for b in self.baselines)
        return replace(self, sampler=sampler, baselines=tuple(baselines))


def with_overrides(
    study: Study, *, num_steps: int | None = None, sampler: Sampler | None = None, **overrides: Any
) -> Study:
    """Return the study with the settings that are not None replaced; ``num_steps`` is that of the study's own sampler.

    Raises:
        GuideGymError: If one is out of range.
    """
    study = study if num_steps is None else study.with_steps(num_steps)
    study = study if sampler is None else study.with_sampler(sampler)
    return replace(study, **{name: value for name, value in overrides.items() if value is not None})
