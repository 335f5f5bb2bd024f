"""The networks' prediction for a batch, its cost, and the shift by the guide."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from guidegym.core.state import State
from guidegym.diffusion import Evaluate, Memory, Predicted, Raised, Step, clean_estimate, rows_like
from guidegym.errors import GuideGymError
from guidegym.guidance import Cost, Guide, GuideOutput
from guidegym.models import Model

NOTHING = Cost()
ONE_DENOISER = Cost(denoiser=1)
ONE_CLASSIFIER = Cost(guide_forward=1)


@dataclass(frozen=True, eq=False)
class Prediction:
    """The networks' outputs for a batch at its current steps, computed once and shared by all that use them.

    Args:
        unguided: The base model's prediction.
        gradient: The guide's gradient; None if it was not evaluated.
        logits: The guide's logits; None if it was not evaluated on all rows.
        guided_rows: Rows that the guide was evaluated on; None for all.
        clean_logits: The guide's logits at the clean estimate and t = 0; None if they were not requested.
        memory: The guide's memory of each row; None if it has none.
        clean: What the gradient changes in the clean estimate; None if it follows from the gradient. See ``GuideOutput``.
        base_cost: Cost per row of the unguided prediction.
        guide_cost: Cost of the guide per row that it was evaluated on.
        raised: Where the networks were evaluated, if the sampler raised the rows' noise before; None if at the rows themselves.
    """

    unguided: Predicted
    gradient: Float[Tensor, " batch *event"] | None = None
    logits: Float[Tensor, " batch classes"] | None = None
    guided_rows: Int[Tensor, " some"] | None = None
    clean_logits: Float[Tensor, " batch classes"] | None = None
    memory: Float[Tensor, " batch *event"] | None = None
    clean: Float[Tensor, " batch *event"] | None = None
    base_cost: Cost = ONE_DENOISER
    guide_cost: Cost = NOTHING
    raised: Raised | None = None

    @property
    def eps(self) -> Float[Tensor, " batch *event"]:
        """The predicted noise."""
        return self.unguided.eps

    def of_rows(self, rows: Int[Tensor, " rows"]) -> "Prediction":
        """Return the prediction for some rows; a row may be taken several times.

        Raises:
            GuideGymError: If the guide was not evaluated on all rows.
        """
        if self.guided_rows is not None:
            raise GuideGymError("`prediction` must cover all rows to be indexed")
        names = ("gradient", "logits", "clean_logits", "memory", "clean")
        own: dict[str, Any] = {name: getattr(self, name) for name in names}
        divided: dict[str, Any] = {name: None if told is None else told[rows] for name, told in own.items()}
        raised = None if self.raised is None else Raised(self.raised.x[rows], self.raised.t[rows])
        return replace(self, unguided=self.unguided.rows(rows), raised=raised, **divided)

    @property
    def guided(self) -> GuideOutput:
        """The guide's output on the rows that it was evaluated on."""
        assert self.gradient is not None
        return GuideOutput(self.gradient, self.logits, self.guide_cost, self.memory, self.clean)

    @property
    def evaluations(self) -> Int[Tensor, " batch 4"]:
        """The cost of each row, in the order of ``Cost``."""
        device, every_row = self.eps.device, self.base_cost
        if self.gradient is not None and self.guided_rows is None:
            every_row = every_row + self.guide_cost
        if self.clean_logits is not None:
            every_row = every_row + ONE_CLASSIFIER
        cost = torch.tensor(every_row.counts, device=device).expand(len(self.eps), -1)
        if self.gradient is None or self.guided_rows is None:
            return cost
        guided = torch.tensor(self.guide_cost.counts, device=device).expand(len(self.guided_rows), -1)
        return cost.index_add(0, self.guided_rows, guided)


def weighted(
    direction: Float[Tensor, " batch *event"] | None, weight: Float[Tensor, " batch"] | None
) -> Float[Tensor, " batch *event"] | None:
    """Return a guide's direction times its weight; a zero weight is no guidance, even if the direction is not finite."""
    if weight is None or direction is None:
        return None
    scale = rows_like(weight, direction)
    return torch.where(scale == 0, 0.0, scale * direction)


def prediction_of_some(
    state: State,
    guided_rows: Int[Tensor, " some"],
    told: Predicted,
    guided: GuideOutput,
    cost: Cost,
) -> Prediction:
    """Return the prediction of a batch when the guide was evaluated on some of its rows."""
    memory = None if guided.memory is None else state.memory.index_copy(0, guided_rows, guided.memory)

    def among_all(rows: Tensor) -> Tensor:
        return torch.zeros_like(state.x).index_copy_(0, guided_rows, rows)

    gradient, clean = among_all(guided.gradient), None if guided.clean is None else among_all(guided.clean)
    return Prediction(
        told, gradient, guided_rows=guided_rows, memory=memory, clean=clean, base_cost=cost, guide_cost=guided.cost
    )


def clean_logits_at(
    model: Model,
    guide: Guide | None,
    x_t: Float[Tensor, " batch *event"],
    t: Shaped[Tensor, " batch"],
    told: Predicted,
) -> Float[Tensor, " batch classes"]:
    """Return the logits of the guide's classifier at the unguided clean estimate, within the model's bounds.

    Raises:
        GuideGymError: If the guide has no classifier.
    """
    if guide is None or guide.classifier is None:
        raise GuideGymError(f"{type(guide).__name__} has no classifier to compute features from")
    clean = clean_estimate(x_t, told, t=t, process=model.process, clip=model.clip)
    return model.classifier(guide.classifier)(clean, torch.zeros_like(t))


def step_of(
    told: Prediction,
    model: Model,
    weight: Float[Tensor, " batch"] | None,
    *,
    x: Float[Tensor, " batch *event"],
    times: tuple[Shaped[Tensor, " batch"], Shaped[Tensor, " batch"]],
    noise: Float[Tensor, " batch *event"] | None,
    memory: Memory,
    evaluate: Evaluate,
) -> Step:
    """Return the reverse step that a prediction leads to, under a weight per row.

    Raises:
        GuideGymError: If a weight is given and the guide was not evaluated.
    """
    if weight is not None and told.gradient is None:
        raise GuideGymError("`weight` must be None if the guide was not evaluated")
    return Step(
        x,
        *times,
        told.eps,
        model.process,
        x_0=told.unguided.x_0,
        spread=told.unguided.spread,
        shift=weighted(told.gradient, weight),
        clean_shift=weighted(told.clean, weight),
        noise=noise,
        clip=model.clip,
        memory=memory,
        evaluate=evaluate,
    )
