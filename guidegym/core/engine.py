"""The functional core: one batch of trajectories, one reverse step at a time."""

import functools
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from guidegym.core.prediction import Prediction, clean_logits_at, prediction_of_some, step_of
from guidegym.core.state import State, check_rows, fork
from guidegym.diffusion import (
    INITIAL,
    REVERSE,
    Predicted,
    Raised,
    Raising,
    Reverse,
    Sampler,
    Step,
    check_memory,
    check_start,
    in_order,
    rows_like,
    trajectory_noise,
)
from guidegym.errors import GuideGymError
from guidegym.guidance import (
    DENOISER,
    ONE_HOT,
    BaseModel,
    Guidance,
    Guide,
    GuideInput,
    GuideOutput,
    TargetDistribution,
    advance_target,
    step_gamma,
    unguided,
)
from guidegym.models import Model
from guidegym.support.autograd import ordinary, without_graph


@dataclass(frozen=True, eq=False)
class Engine:
    """A model, a sampler and a guide, ready to advance batches of trajectories.

    Each step costs one denoiser call, plus the guide's calls where there is guidance, whatever the number of rows.

    Args:
        model: The model to guide.
        sampler: The rule of one reverse step.
        guide: The gradient field; None for no guidance.
        base_model: The unguided prediction that guidance is added to.

    Raises:
        GuideGymError: If the model lacks what the guide or the base model needs, or the sampler has more steps than the process.
    """

    model: Model
    sampler: Sampler
    guide: Guide | None = None
    base_model: BaseModel = DENOISER

    def __post_init__(self) -> None:
        if self.guide is not None:
            self.guide.check(self.model)
        self.base_model.check(self.model)
        check_start(self.sampler, self.model.process)

    @classmethod
    def under(cls, model: Model, sampler: Sampler, guidance: Guidance) -> "Engine":
        """Return the engine that samples under the given guidance.

        Raises:
            GuideGymError: If the model lacks what the guidance needs.
        """
        guidance.target.check(model)
        return cls(model, sampler, guidance.guide, guidance.base_model)

    @functools.cached_property
    def timesteps(self) -> Shaped[Tensor, " steps_and_end"]:
        """The sampler's timesteps on the model's device, followed by -1."""
        return self.sampler.timesteps(self.model.process).to(self.model.device)

    @without_graph
    def start(
        self,
        labels: Int[Tensor, " batch"],
        seeds: Int[Tensor, " batch"],
        *,
        target: TargetDistribution | Float[Tensor, " batch classes"] = ONE_HOT,
    ) -> State:
        """Return a batch at the noisy end of the chain.

        Args:
            labels: Wanted class of each row, in 0 .. K - 1.
            seeds: Noise seed of each row, in 0 .. 2**63 - 1.
            target: The initial target of all rows, or of each row.

        Raises:
            GuideGymError: If ``labels`` and ``seeds`` differ in length, or one of their values is out of range.
        """
        model = self.model
        check_rows(labels, seeds, model.num_classes)
        labels, seeds = (ordinary(rows).to(model.device) for rows in (labels, seeds))
        zero = torch.zeros_like(labels)
        noise = trajectory_noise(seeds, zero, model.event_shape, stream=INITIAL, dtype=model.dtype)
        noise = model.process.prior_std * noise
        if not isinstance(target, Tensor):
            target.check(model)
            target = target.rows(model, labels)
        return State(
            x=noise,
            x_0=torch.zeros_like(noise),
            step=zero,
            label=labels,
            target=ordinary(target).to(noise),
            weight=torch.zeros_like(labels, dtype=model.dtype),
            seed=seeds,
            failed=torch.zeros_like(labels, dtype=torch.bool),
            memory=torch.zeros_like(noise),
            evaluations=torch.zeros(len(labels), 4, dtype=torch.long, device=model.device),
            solver=self.sampler.init(noise),
        )

    def at(self, state: State) -> tuple[Shaped[Tensor, " batch"], Shaped[Tensor, " batch"]]:
        """Return each row's training timestep and the one its next step leads to; a finished row keeps its last pair."""
        index = state.step.clamp(max=self.sampler.num_steps - 1)
        return self.timesteps[index], self.timesteps[index + 1]

    def ended(self, state: State) -> Bool[Tensor, " batch"]:
        """Return which rows have reached the end of their chain or failed."""
        return (state.step >= self.sampler.num_steps) | state.failed

    @without_graph
    def predict(
        self,
        state: State,
        *,
        guide: bool = True,
        guided_rows: Int[Tensor, " some"] | None = None,
        clean: bool = False,
        times: Shaped[Tensor, " batch"] | None = None,
    ) -> Prediction:
        """Evaluate the networks: the denoiser on every row, the guide on all rows, some, or none.

        Args:
            state: The batch.
            guide: Whether to evaluate the guide.
            guided_rows: Rows to evaluate the guide on; None for all.
            clean: Whether to evaluate the guide at the clean estimate, too, if it is evaluated on all rows.
            times: Timesteps to evaluate the rows at instead of their own.

        Raises:
            GuideGymError: If ``guide`` is true and the engine has no guide.
        """
        if guide and self.guide is None:
            raise GuideGymError("`weight` must be None for an engine without a guide")
        if times is None and (raised := self._raised(state)) is not None:
            there = replace(state, x=raised.x)
            known = self.predict(there, guide=guide, guided_rows=guided_rows, clean=clean, times=raised.t)
            return replace(known, raised=raised)
        t = self.at(state)[0] if times is None else times
        in_graph = guide and self.guide is not None and self.guide.through_denoiser
        if in_graph and guided_rows is not None:
            return self._predict_apart(state, t, guided_rows)
        with torch.set_grad_enabled(in_graph):
            x_t = state.x.detach().requires_grad_(in_graph)
            told, cost = unguided(self.base_model, self.model, x_t, t, state.label)
        if not guide:
            return Prediction(told, base_cost=cost)
        if guided_rows is not None:
            some = fork(state, guided_rows)
            guided = self._guided(some, t[guided_rows], x_t[guided_rows], told.rows(guided_rows))
            return prediction_of_some(state, guided_rows, told.detach(), guided, cost)
        gradient, logits, guide_cost, memory, change = self._guided(state, t, x_t, told)
        told = told.detach()
        clean_logits = clean_logits_at(self.model, self.guide, state.x, t, told) if clean else None
        return Prediction(told, gradient, logits, None, clean_logits, memory, change, cost, guide_cost)

    def _noise(self, state: State) -> Float[Tensor, " batch *event"]:
        """Return the noise of each row's next step."""
        return trajectory_noise(state.seed, state.step, state.x.shape[1:], stream=REVERSE, dtype=self.model.dtype)

    def _raised(self, state: State) -> Raised | None:
        """Return the rows with the noise that the sampler adds before its step; None if it adds none there."""
        if not (self.sampler.is_stochastic and isinstance(self.sampler, Raising)):
            return None
        return self.sampler.raised(state.x, self.at(state)[0], self._noise(state), self.model.process)

    def _predict_apart(
        self, state: State, t: Shaped[Tensor, " batch"], guided_rows: Int[Tensor, " some"]
    ) -> Prediction:
        """Predict some rows with a guide that differentiates through the denoiser, the others without a graph."""
        some = self.predict(fork(state, guided_rows), times=t[guided_rows])
        parts, rows = [some.unguided], [guided_rows]
        others = torch.ones(len(state), dtype=torch.bool, device=guided_rows.device).index_fill_(0, guided_rows, False)
        if others.any():
            parts.append(self.predict(fork(state, others), guide=False, times=t[others]).unguided)
            rows.append(others.nonzero()[:, 0])
        told = in_order(parts, torch.cat(rows))
        return prediction_of_some(state, guided_rows, told, some.guided, some.base_cost)

    def _guided(
        self, state: State, t: Shaped[Tensor, " batch"], x_t: Float[Tensor, " batch *event"], told: Predicted
    ) -> GuideOutput:
        """Evaluate the guide on rows whose unguided prediction is known."""
        assert self.guide is not None
        return self.guide.gradient(
            GuideInput(self.model, x_t, t, state.target, state.label, self.base_model, told, state.memory)
        )

    @without_graph
    def advance(
        self,
        state: State,
        prediction: Prediction,
        weight: Float[Tensor, " batch"] | None,
        rate: Float[Tensor, " batch"] | None = None,
    ) -> State:
        """Advance every row by one reverse step, given its prediction; rows that have finished or failed stay unchanged.

        Args:
            state: The batch.
            prediction: The result of ``predict`` for the batch.
            weight: Guidance weight of each row; None for no guidance.
            rate: Rate of each row's target towards its wanted class, per unit of the chain, >= 0; None leaves it unchanged.

        Raises:
            GuideGymError: If a weight is given and the guide was not evaluated, or the state is another sampler's.
        """
        check_memory(self.sampler, state.solver, state.x)
        active = ~self.ended(state)
        reverse, further = self._reverse(state, prediction, weight)
        finite = reverse.x_next.flatten(1).abs().amax(dim=1).isfinite()  # a NaN counts as the largest
        moves = active & finite

        def moved(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(rows_like(moves, old), new, old)

        target, last = state.target, torch.zeros_like(state.weight) if weight is None else weight.to(state.weight)
        if rate is not None:
            target = moved(advance_target(target, state.label, step_gamma(rate, self.sampler.num_steps)), target)
        return replace(
            state,
            x=moved(reverse.x_next, state.x),
            x_0=moved(reverse.x_0, state.x_0),
            step=state.step + moves.long(),
            target=target,
            weight=moved(last, state.weight),
            failed=state.failed | (active & ~finite),
            memory=state.memory if prediction.memory is None else moved(prediction.memory, state.memory),
            evaluations=state.evaluations + prediction.evaluations + further * active[:, None],
            solver={name: moved(reverse.memory[name], own) for name, own in state.solver.items()},
        )

    def _reverse(
        self, state: State, prediction: Prediction, weight: Float[Tensor, " batch"] | None
    ) -> tuple[Reverse, Int[Tensor, " batch 4"]]:
        """Let the sampler take its step; return the result and its cost beyond the prediction."""
        further = torch.zeros_like(state.evaluations)

        def evaluate(x: Tensor, times: Tensor, wanted: Tensor) -> Step:
            guided_rows = prediction.guided_rows
            told = self.predict(replace(state, x=x), guide=weight is not None, guided_rows=guided_rows, times=times)
            further.add_(told.evaluations * wanted[:, None])
            return step_from(x, times, told)

        raised, (now, t_next) = prediction.raised, self.at(state)
        noise = self._noise(state) if self.sampler.is_stochastic and raised is None else None

        def step_from(x: Tensor, t: Tensor, told: Prediction) -> Step:
            return step_of(
                told, self.model, weight, x=x, times=(t, t_next), noise=noise, memory=state.solver, evaluate=evaluate
            )

        return self.sampler.step(step_from(*(raised or (state.x, now)), prediction)), further

    def step(
        self,
        state: State,
        weight: Float[Tensor, " batch"] | None,
        guided: Int[Tensor, " guided"] | None = None,
        *,
        rate: Float[Tensor, " batch"] | None = None,
    ) -> State:
        """Predict and advance by one step.

        Args:
            state: The batch.
            weight: Guidance weight of each row; None skips the guide, at no cost.
            guided: Rows to evaluate the guide on, if the others are known to have weight 0; None for all.
            rate: Rate of each row's target towards its wanted class, per unit of the chain, >= 0; None leaves it unchanged.

        Raises:
            GuideGymError: If a weight is given and the engine has no guide.
        """
        return self.advance(state, self.predict(state, guide=weight is not None, guided_rows=guided), weight, rate)
