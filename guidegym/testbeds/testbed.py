"""The Testbed record: a model, and the means to measure its samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier, Denoiser
from guidegym.models import Model
from guidegym.models.checked import advice_on, warn_of_train_mode
from guidegym.testbeds.judge import JudgeNetwork, Seen, seen_by
from guidegym.testbeds.references import References


class Rows(NamedTuple):
    """Clean rows and their classes."""

    x: Float[Tensor, " n *event"]
    labels: Int[Tensor, " n"]


@dataclass(frozen=True)
class Training:
    """A network's training, as recorded in its weight file.

    Args:
        examples: Labelled examples, counted each time they are seen.
        updates: Optimiser steps.
        score_error: Mean squared error of a classifier's own score over the noise levels, per coordinate, as
            ``metrics.score_errors`` counts it: 1 for a score of 0; None if not measured.
    """

    examples: int
    updates: int
    score_error: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Testbed(Model):
    """A model with a judge that measures its samples, and real data to compare them with.

    The other arguments are those of ``Model``.

    Args:
        judge: Measures samples; never used to guide.
        references: Real data in the judge's features.
        judge_note: A caveat to report if the judge is not independent of the guides; empty otherwise.
        judges: The bank of judges by name, including the judge, for measuring with several; by default that one alone.
        test_data: Returns held-out real rows and their classes, from a folder or from their default location; None if
            there are none.
        trained: Training records of classifiers and conditional denoisers, by name; missing ones are unknown.
        exact: Logits whose softmax is the true class posterior and whose logsumexp the true log-density; None if unknown.

    Raises:
        GuideGymError: If the references are on another device or have another number of classes.
    """

    __test__ = False  # its name begins like a pytest class

    denoiser: Denoiser = field()  # a testbed has one
    judge: JudgeNetwork
    references: References
    judge_note: str = ""
    judges: Mapping[str, JudgeNetwork] = field(default_factory=dict)
    test_data: Callable[[Path | None], Rows] | None = None
    trained: Mapping[str, Training] = field(default_factory=dict)
    exact: Classifier | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        warn_of_train_mode(self.judge, f"the judge of testbed '{self.name}'")
        if not self.judges:
            object.__setattr__(self, "judges", {"judge": self.judge})
        classes = len(self.references.features)
        if classes != self.num_classes:
            raise GuideGymError(
                f"`references` must have one block per class, got {classes} for {self.num_classes} names"
            )
        if self.references.features.device != torch.zeros(0, device=self.device).device:
            raise GuideGymError(f"`references` must be on {self.device}, got {self.references.features.device}")

    @classmethod
    def of(cls, model: Model, *, judge: JudgeNetwork, references: References, **further: Any) -> "Testbed":
        """Return a model with a judge, and references in its features: a testbed, whose samples can be measured.

        Args:
            model: The model.
            judge: Measures samples, on the model's device.
            references: Real data in the judge's features, one block per class of the model.
            further: Further arguments, of the testbed or in place of the model's.

        Raises:
            GuideGymError: If the model has conditional denoisers only, or the references do not fit it.
        """
        if model.denoiser is None:
            raise GuideGymError(f"model '{model.name}' has only conditional denoisers: a testbed has another one")
        parts = {one.name: getattr(model, one.name) for one in fields(Model)}
        return cls(**{**parts, "judge": judge, "references": references, **further})

    def seen(self, x: Float[Tensor, " n *event"], *, by: str | None = None) -> Seen:
        """Return the outputs of the judge, or of the one called ``by`` in the bank, for clean samples.

        Raises:
            GuideGymError: If it does not return one feature vector and one logit per class for each sample.
        """
        judge, what = (self.judge, "the judge") if by is None else (self.judges[by], f"judge '{by}'")
        seen, wanted = seen_by(judge, x), (len(x), self.num_classes)
        if seen.logits.shape != wanted:
            raise GuideGymError(
                f"{what} of testbed '{self.name}' must return logits of shape {wanted}, got {tuple(seen.logits.shape)}"
                + advice_on(seen.logits, self.num_classes)
            )
        return seen
