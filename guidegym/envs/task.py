"""A task: what is guided, how, and for which reward. The tensor core of the environments, without episodes or Gymnasium."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.core.engine import Engine
from guidegym.core.observation import FEATURES, observe
from guidegym.core.prediction import Prediction
from guidegym.core.state import State, fork
from guidegym.diffusion import Sampler, make_sampler, rows_like
from guidegym.envs.rewards import Reward, RewardMix, reward_mix
from guidegym.envs.splits import Split, make_split
from guidegym.errors import GuideGymError
from guidegym.guidance import (
    ONE_HOT,
    ActionScale,
    BaseModel,
    Guide,
    TargetDistribution,
    make_base_model,
    make_guide,
    make_target,
)
from guidegym.models import Model
from guidegym.objectives import Finished
from guidegym.registry import find, name_of, register
from guidegym.support.settings import check_range, check_settings, shown
from guidegym.testbeds import load_model

OBSERVATIONS = ("full", "features", "sample")
UNGUIDED = 1e-6
"""A weight below this share of the largest counts as 0: in observation mode ``sample`` the guide is then not evaluated."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """Running trajectories.

    Args:
        state: The batch.
        value: Last value of each row's clean estimate; 0 before the first step.
        prediction: The networks' prediction for the batch; None if they have not been evaluated.
        group: Rows of one group are alternatives to each other (see ``Finished``); None if each row is independent.
    """

    state: State
    value: Float[Tensor, " batch"]
    prediction: Prediction | None = None
    group: Int[Tensor, " batch"] | None = None


@register("environment", "guidance")
@dataclass(frozen=True, eq=False)
class Task:
    """An engine with an action range, a reward, and an observation mode.

    A custom environment is a subclass, registered as an ``environment``: ``action_size`` is the number of an action's
    components in [-1, 1], and ``apply`` defines their effect. The first are the weight and, if there
    is one, the rate; any further one must have no effect at -1, so that policies of weights alone can act there, too.

    Args:
        engine: Model, sampler and guide.
        scale: Physical range of an action.
        reward: The value of a sample.
        split: The source of episodes.
        observation: ``full``, ``features`` or ``sample``.
        target: The initial target.
    """

    engine: Engine
    scale: ActionScale
    reward: RewardMix
    split: Split
    observation: str = "features"
    target: TargetDistribution = ONE_HOT

    def __post_init__(self) -> None:
        if self.observation not in OBSERVATIONS:
            raise GuideGymError(f"`observation` must be one of {', '.join(OBSERVATIONS)}, got {self.observation!r}")
        self.target.check(self.engine.model)

    @property
    def name(self) -> str:
        """The environment's name in files: its registered name, or a reference to its definition."""
        return name_of("environment", type(self))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that a policy sees, in order."""
        return FEATURES

    @property
    def action_size(self) -> int:
        """Number of components in [-1, 1] of an action."""
        return self.scale.size

    def padded(self, action: Float[Tensor, " rows some"]) -> Float[Tensor, " rows size"]:
        """Return actions of weight and rate with the further components at -1, where they have no effect."""
        missing = self.action_size - action.shape[1]
        return torch.cat([action, -torch.ones(len(action), missing, device=action.device)], dim=1)

    def apply(self, state: State, prediction: Prediction | None, action: Float[Tensor, " batch size"]) -> State:
        """Return the batch one step later: the effect of an action.

        Args:
            state: The batch; rows that have ended are unchanged.
            prediction: The networks' prediction; None if they have not been evaluated.
            action: Action of each row, not yet clipped to [-1, 1].
        """
        engine, (weight, rate) = self.engine, self.scale.physical(action)
        if prediction is not None:
            return engine.advance(state, prediction, weight, rate)
        guided_rows = (weight > UNGUIDED * self.scale.max_weight).nonzero()[:, 0]
        weight = weight.where(weight > UNGUIDED * self.scale.max_weight, 0.0)
        return engine.step(state, weight if len(guided_rows) else None, guided_rows, rate=rate)

    def check_features(self) -> None:
        """Check that the observations are features, which a policy file can name.

        Raises:
            GuideGymError: If the observation mode is not ``features``.
        """
        if self.observation != "features":
            raise GuideGymError(f"the environment must have observation 'features', got '{self.observation}'")

    def begin(
        self, labels: Int[Tensor, " batch"], seeds: Int[Tensor, " batch"], group: Int[Tensor, " batch"] | None = None
    ) -> Rollout:
        """Return trajectories at the noisy end, before any network evaluation."""
        state = self.engine.start(labels, seeds, target=self.target)
        device = state.x.device
        return Rollout(state, torch.zeros(len(state), device=device), group=None if group is None else group.to(device))

    def look(self, live: Rollout) -> Rollout:
        """Evaluate the networks, once for the whole batch, if the observation depends on them."""
        if self.observation == "sample":
            return replace(live, prediction=None)
        return replace(live, prediction=self.engine.predict(live.state, clean=True))

    def features(self, live: Rollout) -> Float[Tensor, " batch features"]:
        """Return the features of each row; see ``guidegym.core.observation``."""
        return observe(self.engine, live.state, live.prediction)

    def act(
        self, live: Rollout, action: Float[Tensor, " batch size"]
    ) -> tuple[Rollout, Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Take one step: actions in [-1, 1] become weights and rates, and every running row advances.

        Args:
            live: The trajectories, after ``look``.
            action: Action of each row, clipped to [-1, 1].

        Returns:
            The trajectories, before ``look``; the reward of each row; which rows have ended.
        """
        before, engine = live.state, self.engine
        state = self.apply(before, live.prediction, action.to(before.x))
        ended, moved = engine.ended(state), ~engine.ended(before)
        value = self._value(live, state, ended, moved)
        spent = (state.evaluations - before.evaluations).sum(dim=1) * self.reward.evaluation_cost
        reward = torch.where(moved, value - live.value - spent, 0.0)
        return Rollout(state, value, group=live.group), reward, ended

    def _value(self, live: Rollout, state: State, ended: Tensor, moved: Tensor) -> Float[Tensor, " batch"]:
        """Return the current value of each row; in terminal form 0 until it ends."""
        scored = moved & ended if self.reward.form == "terminal" else moved
        rows = (scored & ~state.failed).nonzero()[:, 0]
        value = live.value.clone()
        if len(rows):
            value[rows] = self.value(fork(state, rows), None if live.group is None else live.group[rows])
        return torch.where(moved & state.failed, self.reward.floor, value)

    def value(self, state: State, group: Int[Tensor, " batch"] | None = None) -> Float[Tensor, " batch"]:
        """Return the value of the sample of each row that has ended, and of the clean estimate of each other row.

        Args:
            state: The batch; the value of a failed row is the reward's floor.
            group: See ``Rollout``.
        """
        ended = rows_like(self.engine.ended(state), state.x)
        x = torch.where(ended, state.x, state.x_0)
        cost = state.evaluations.sum(dim=1)
        value = self.reward.value(Finished(x, state.label, self.engine.model, self.engine.guide, group, cost))
        return torch.where(state.failed, self.reward.floor, value)


def make_task(
    *,
    testbed: str | Model = "gaussians",
    guide: str | Mapping[str, Any] | Guide | None = None,
    sampler: str | Mapping[str, Any] | Sampler = "ddim",
    num_steps: int = 20,
    max_weight: float = 8.0,
    max_rate: float | None = None,
    target: str | Mapping[str, Any] | TargetDistribution = "one_hot",
    base_model: str | Mapping[str, Any] | BaseModel = "denoiser",
    reward: Reward = "confidence",
    reward_form: str = "terminal",
    evaluation_cost: float = 0.0,
    observation: str = "full",
    split: str | Mapping[str, Sequence[int]] = "train",
    device: str = "cpu",
    environment: str | type[Task] = "guidance",
) -> Task:
    """Build a task from JSON-serialisable arguments, or from the parts themselves.

    Args:
        testbed: The model to guide: name of a testbed, path to a Python file with one, or a ``Model`` (such as a ``Testbed``).
        guide: A guide, a classifier's name for likelihood guidance, or an object as in a guidance file; None for the likelihood
            under ``time_dependent``, or under the model's first classifier.
        sampler: ``ddim``, ``ddpm``, or an object such as ``{"kind": "ddim", "eta": 1.0}``.
        num_steps: Steps of the chain, in 1 .. T.
        max_weight: Guidance weight of action 1; action -1 is no guidance.
        max_rate: Rate of the target, per unit of the chain, of a second action of 1; None for no second action.
        target: The initial target: ``one_hot``, ``uniform``, or an object as in a guidance file.
        base_model: What guidance is added to: ``denoiser``, ``conditional``, or an object as in a guidance file.
        reward: An objective, its name or a reference to it; weights by name; or a function of finished samples.
        reward_form: ``terminal`` or ``difference``.
        evaluation_cost: Cost subtracted from the reward per network evaluation of the row.
        observation: ``full``, ``features`` or ``sample``.
        split: ``train``, ``test``, or ``{"labels": [...], "seeds": [...]}``.
        device: Device of the networks.
        environment: Defines the effect of actions: a registered environment, a reference to one, or a subclass of ``Task``.

    Raises:
        GuideGymError: If an argument is unknown or out of range.
    """
    check_settings(make_task, dict(locals()), what="the environment")
    check_range("num_steps", num_steps, least=1)
    check_range("evaluation_cost", evaluation_cost, least=0)
    try:
        place = torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise GuideGymError(
            f"must be one that torch can use on this machine, got {device!r}: {str(error).splitlines()[0]}",
            argument="device",
        ) from error
    loaded = testbed if isinstance(testbed, Model) else load_model(testbed, device=place)
    if guide is None:
        guide = "time_dependent" if "time_dependent" in loaded.classifiers else next(iter(loaded.classifiers), None)
    if guide is None:
        raise GuideGymError(f"`guide` is required: model '{loaded.name}' has no classifier")
    kind = find("environment", environment) if isinstance(environment, str) else environment
    if not isinstance(kind, type) or not issubclass(kind, Task):
        raise GuideGymError(f"`environment` must be a subclass of guidegym.envs.Task, got {shown(environment)}")
    return kind(
        engine=Engine(loaded, make_sampler(sampler, num_steps), make_guide(guide), make_base_model(base_model)),
        scale=ActionScale(max_weight, max_rate),
        reward=reward_mix(reward, form=reward_form, evaluation_cost=evaluation_cost),
        split=make_split(split, num_classes=loaded.num_classes),
        observation=observation,
        target=make_target(target),
    )
