"""The Testbed record: everything that a guided sample is made with and measured by."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.errors import GuideGymError
from guidegym.guidance import Classifier, ConditionalNetwork, Denoiser
from guidegym.support.settings import plain_fields
from guidegym.testbeds.checked import Checked, own_dtype, warn_of_train_mode
from guidegym.testbeds.references import References


class Rows(NamedTuple):
    """Clean rows and their classes."""

    x: Float[Tensor, " n *event"]
    labels: Int[Tensor, " n"]


@runtime_checkable
class JudgeNetwork(Protocol):
    """A classifier that measures: features of clean samples, and logits of those features."""

    def features(self, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch dim"]:
        """Return the space that distances are measured in."""
        ...

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``features``."""
        ...


@runtime_checkable
class SpatialJudge(JudgeNetwork, Protocol):
    """A judge that also tells what it saw where."""

    def features_and_maps(
        self, x: Float[Tensor, " batch *event"]
    ) -> tuple[Float[Tensor, " batch dim"], Float[Tensor, " batch maps rows columns"]]:
        """Return the features, and the maps that they are pooled from."""
        ...


@dataclass(frozen=True)
class Training:
    """What a network has seen, as its weight file tells.

    Args:
        examples: Labelled examples, each counted as often as it was seen.
        updates: Steps of the optimiser.
        score_error: Mean squared error of a classifier's own score over the noise levels, per coordinate, as
            ``metrics.score_errors`` counts it: 1 for a score of 0; None where it was not measured.
    """

    examples: int
    updates: int
    score_error: float | None = None


CHUNK = 500
"""Samples that the judge sees at a time."""
SPATIAL_MAPS = 4
"""Maps of the judge whose values by place make the space of the spatial Frechet distance."""


class Seen(NamedTuple):
    """What a judge makes of samples.

    Args:
        features: The space that distances are measured in.
        logits: Its logits.
        spatial: Values by place; None where it keeps no places.
    """

    features: Float[Tensor, " n dim"]
    logits: Float[Tensor, " n classes"]
    spatial: Float[Tensor, " n places"] | None


@torch.no_grad()
def seen_by(judge: JudgeNetwork, x: Float[Tensor, " n *event"]) -> Seen:
    """Show clean samples to a judge once, in chunks, and return all it makes of them.

    Source:
        Nash et al. 2021, section 4.1, for the spatial features: a few maps before pooling, flattened.
    """
    features, spatial = [], []
    dtype = own_dtype(judge, x.dtype)
    for rows in x.split(CHUNK):
        if isinstance(judge, SpatialJudge):
            own, maps = judge.features_and_maps(rows.to(dtype, copy=True))
            spatial.append(maps[:, :SPATIAL_MAPS].flatten(1))
        else:
            own = judge.features(rows.to(dtype, copy=True))
        features.append(_checked_features(own, rows))
    together = torch.cat(features)
    return Seen(together, judge.classify(together.clone()), torch.cat(spatial) if spatial else None)


def _checked_features(features: Tensor, rows: Tensor) -> Float[Tensor, " batch dim"]:
    """Return a judge's features, which must be one vector per row."""
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(rows):
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise GuideGymError(f"the judge's features must have shape ({len(rows)}, dim), got {got}")
    return features


@torch.no_grad()
def judge_features(judge: JudgeNetwork, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch dim"]:
    """Return the judge's features of clean samples, computed in chunks: memory does not grow with the batch.

    Raises:
        GuideGymError: If they are not one vector per row.
    """
    dtype = own_dtype(judge, x.dtype)
    return torch.cat([_checked_features(judge.features(rows.to(dtype, copy=True)), rows) for rows in x.split(CHUNK)])


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
        conditionals: Label-conditional denoisers by name, ``(x_t, t, label) -> eps`` with label -1 for any class; guides look
            for ``conditional`` unless told otherwise.
        similarities: How alike the classes' descriptions are: matrices of cosines by the text encoder's name.
        judge_note: What a reader must know where the judge is not independent of the guides; empty otherwise.
        judges: The bank of judges by name, the judge among them, for measuring by several; by default that one alone.
        test_data: Returns held-out real rows and their classes, from a folder or from where they are looked for; None where
            there are none.
        trained: What is known of the training of classifiers and conditional denoisers, by name; what is not there is not known.
        exact: Logits whose softmax is the true class posterior and whose logsumexp the true log-density; None where unknown.
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
    conditionals: Mapping[str, ConditionalNetwork] = field(default_factory=dict)
    similarities: Mapping[str, Float[Tensor, " classes classes"]] = field(default_factory=dict)
    judge_note: str = ""
    judges: Mapping[str, JudgeNetwork] = field(default_factory=dict)
    test_data: Callable[[Path | None], Rows] | None = None
    trained: Mapping[str, Training] = field(default_factory=dict)
    exact: Classifier | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        warn_of_train_mode(self.judge, f"the judge of testbed '{self.name}'")
        if not self.judges:
            object.__setattr__(self, "judges", {"judge": self.judge})
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

    @functools.cached_property
    def _asked(self) -> dict[tuple[str, str], Checked]:
        """The networks that were asked so far: each is warned of once."""
        return {}

    def _checked(self, role: str, name: str, network: Callable[..., Tensor], num_classes: int | None = None) -> Checked:
        if (role, name) not in self._asked:
            what = f"the {role} of testbed '{self.name}'" if not name else f"{role} '{name}' of testbed '{self.name}'"
            self._asked[role, name] = Checked(network, what, num_classes=num_classes)
        return self._asked[role, name]

    def unconditional(self) -> Denoiser:
        """Return the denoiser, as it is asked; see ``Checked``."""
        return self._checked("denoiser", "", self.denoiser)

    @torch.no_grad()
    def judged(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the judge's logits of its features.

        Raises:
            GuideGymError: If they are not one per class.
        """
        logits = self.judge.classify(features.clone())
        if logits.shape != (len(features), self.num_classes):
            raise GuideGymError(
                f"the judge of testbed '{self.name}' must return logits of shape {(len(features), self.num_classes)}, "
                f"got {tuple(logits.shape)}"
            )
        return logits

    def classifier(self, name: str) -> Classifier:
        """Return the classifier called ``name``, as it is asked; see ``Checked``.

        Raises:
            GuideGymError: If the testbed has none of that name.
        """
        if name not in self.classifiers:
            known = ", ".join(self.classifiers)
            raise GuideGymError(f"testbed '{self.name}' has no classifier '{name}'; it has {known}")
        return self._checked("classifier", name, self.classifiers[name], self.num_classes)

    def conditional(self, name: str) -> ConditionalNetwork:
        """Return the label-conditional denoiser called ``name``, as it is asked; see ``Checked``.

        Raises:
            GuideGymError: If the testbed has none of that name.
        """
        if name not in self.conditionals:
            known = f"it has {', '.join(self.conditionals)}" if self.conditionals else "it has none"
            raise GuideGymError(f"testbed '{self.name}' has no conditional denoiser '{name}'; {known}")
        return self._checked("conditional denoiser", name, self.conditionals[name])
