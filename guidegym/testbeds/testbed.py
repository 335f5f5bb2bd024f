"""The Testbed record: everything that a guided sample is made with and measured by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier, ConditionalNetwork, Denoiser
from guidegym.testbeds.references import References


@runtime_checkable
class JudgeNetwork(Protocol):
    """A classifier that measures: features of clean samples, and logits of those features."""

    def features(self, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch dim"]:
        """Return the space that distances are measured in."""
        ...

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``features``."""
        ...


CHUNK = 500
"""Samples that the judge sees at a time."""


@torch.no_grad()
def judge_features(judge: JudgeNetwork, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch dim"]:
    """Return the judge's features of clean samples, computed in chunks: memory does not grow with the batch."""
    return torch.cat([judge.features(rows) for rows in x.split(CHUNK)])


@dataclass(frozen=True, eq=False)
class Testbed:
    r"""What is guided: a noise process, a denoiser, classifiers to guide with, and a judge to measure with.

    Args:
        name: Its name in results.
        process: The noise process the networks were trained on.
        denoiser: Predicts the noise.
        classifiers: Classifiers that may guide, by name.
        judge: Measures samples; never used to guide.
        references: Real data in the judge's features.
        class_names: One name a class.
        event_shape: Shape of one sample.
        clip: Bound on the absolute value of clean data; None where there is none.
        device: Where the networks live.
        dtype: Floating type of the samples.
        identity: Digest of the weights, or any text that changes when the networks do: trials of different networks are
            not comparable.
        class_energies: For classifiers by name, the mean energy :math:`E(x) = -\log \sum_y e^{f(x)_y}` of real data of each
            class; what is not there is not known.
        conditional: Predicts the noise for a class, ``(x_t, t, label) -> eps`` with label -1 for any; None where there is none.
        similarities: How alike the classes' descriptions are: matrices of cosines by the text encoder's name.
        judge_note: What a reader must know where the judge is not independent of the guides; empty otherwise.
    """

    __test__ = False  # its name begins like a pytest class

    name: str
    process: Process
    denoiser: Denoiser
    classifiers: Mapping[str, Classifier]
    judge: JudgeNetwork
    references: References
    class_names: tuple[str, ...]
    event_shape: tuple[int, ...]
    clip: float | None
    device: torch.device
    dtype: torch.dtype = torch.float32
    identity: str = ""
    class_energies: Mapping[str, Float[Tensor, " classes"]] = field(default_factory=dict)
    conditional: ConditionalNetwork | None = None
    similarities: Mapping[str, Float[Tensor, " classes classes"]] = field(default_factory=dict)
    judge_note: str = ""

    def __post_init__(self) -> None:
        classes = len(self.references.features)
        if classes != len(self.class_names):
            raise GuideGymError(
                f"`references` must have one block a class, got {classes} for {len(self.class_names)} names"
            )
        for name, matrix in self.similarities.items():
            if tuple(matrix.shape) != (classes, classes) or not bool(matrix.isfinite().all()):
                raise GuideGymError(
                    f"`similarities` of '{name}' must be a finite matrix of shape {(classes, classes)}, got {tuple(matrix.shape)}"
                )
        if self.clip is not None and not self.clip > 0:
            raise GuideGymError(f"`clip` must be > 0 or None, got {self.clip}")
        if self.references.features.device != torch.zeros(0, device=self.device).device:
            raise GuideGymError(f"`references` must be on {self.device}, got {self.references.features.device}")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def classifier(self, name: str) -> Classifier:
        """Return the classifier called ``name``.

        Raises:
            GuideGymError: If the testbed has none of that name.
        """
        if name not in self.classifiers:
            known = ", ".join(self.classifiers)
            raise GuideGymError(f"testbed '{self.name}' has no classifier '{name}'; it has {known}")
        return self.classifiers[name]
