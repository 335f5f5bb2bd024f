"""The extractor's and judges' outputs for a method's samples, from which their metrics are computed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.core.sampling import Samples
from guidegym.evaluation.measuring.extractor import Extractor
from guidegym.evaluation.measuring.failures import failures_of
from guidegym.evaluation.measuring.method import Method
from guidegym.metrics.accuracy import logits_at
from guidegym.metrics.energies import energies_of
from guidegym.models import Model
from guidegym.testbeds import Testbed


@dataclass(frozen=True, eq=False)
class SampleSet:
    """One method's samples with their features; rows cycle through the classes (0, 1, ..., K - 1, 0, 1, ...).

    Args:
        method: The method.
        features: The extractor's features.
        logits: The extractor's logits.
        hits: Whether each judge assigns the row to the wanted class (false for failed rows); the first column is the judge's own.
        failed: Rows that became non-finite, saturated, or far away from all real data.
        evaluations: Network evaluations of each row, in the order of ``Cost``.
        shown: The first samples themselves.
        num_classes: Number of classes.
        spatial: Spatial features; None if the extractor has none.
        divergence: Energy divergence :math:`|E^*_c - E(x)|` of each row; None if not requested.
        seconds: Seconds that sampling took; 0 if not measured.
        failures: Numbers of failed rows by kind of failure; None if not kept.
    """

    method: Method
    features: Float[Tensor, " n dim"]
    logits: Float[Tensor, " n outputs"]
    hits: Bool[Tensor, " n judges"]
    failed: Bool[Tensor, " n"]
    evaluations: Int[Tensor, " n 4"]
    shown: Float[Tensor, " some *event"]
    num_classes: int
    spatial: Float[Tensor, " n places"] | None = None
    divergence: Float[Tensor, " n"] | None = None
    seconds: float = 0.0
    failures: Mapping[str, int] | None = None

    def by_class(self, rows: Tensor) -> Tensor:
        """Arrange rows as one block per class."""
        return rows.reshape(-1, self.num_classes, *rows.shape[1:]).transpose(0, 1)

    @property
    def num_failed(self) -> int:
        """Number of failed rows."""
        return int(self.failed.sum())

    @property
    def evaluations_per_sample(self) -> float:
        """Network evaluations per sample, forward and backward."""
        return int(self.evaluations.sum()) / len(self.evaluations)

    @property
    def shown_labels(self) -> Int[Tensor, " some"]:
        """Wanted classes of the samples in ``shown``."""
        return torch.arange(len(self.shown)) % self.num_classes


def hits_of(
    testbed: Testbed,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    judged: Float[Tensor, " n classes"],
    *,
    bank: bool,
) -> Bool[Tensor, " n judges"]:
    """Return whether each judge assigns a sample to its wanted class: the testbed's, which ``judged``, and those of the bank."""
    others = [name for name, judge in testbed.judges.items() if bank and judge is not testbed.judge]
    logits = [judged, *(testbed.seen(x, by=name).logits for name in others)]
    return torch.stack([one.argmax(dim=1) == labels for one in logits], dim=1)


def unjudged(method: Method, samples: Samples, model: Model) -> SampleSet:
    """Return a method's samples of a model that has no judge: without features, logits and hits."""
    nothing = samples.x.new_zeros(len(samples.x), 0)
    failed = samples.failed | ~samples.x.flatten(1).isfinite().all(dim=1)
    return SampleSet(
        method=method,
        features=nothing,
        logits=nothing,
        hits=nothing.bool(),
        failed=failed,
        evaluations=samples.evaluations,
        shown=samples.x,
        num_classes=model.num_classes,
        failures={"not_finite": int(failed.sum())},
    )


def look(
    method: Method,
    samples: Samples,
    testbed: Testbed,
    extractor: Extractor,
    *,
    bank: bool = True,
    energy: str | None = None,
    shown: int | None = None,
) -> SampleSet:
    """Evaluate the extractor and the judges, all of the bank or the testbed's own alone, on a method's samples once.

    The classifier ``energy`` measures the energy divergence; the first ``shown`` samples are kept, by default all.
    """
    x, labels = samples.x.nan_to_num(0.0), samples.labels
    seen = extractor.look(x)
    failures = failures_of(testbed, samples.x, seen.features, extractor.references.features)
    # A chain that became non-finite was stopped, so its last sample may be finite.
    failures = failures._replace(not_finite=failures.not_finite | samples.failed)
    # The judge comes first: its hits are the class accuracy. If it is the extractor, its outputs are reused.
    is_judge = extractor.digest == testbed.references.extractor
    judged = (seen if is_judge else testbed.seen(x)).logits
    divergence = None
    if energy is not None:
        own, _ = energies_of(logits_at(testbed.classifier(energy), x, 0), labels)
        divergence = (testbed.class_energies[energy].to(own)[labels] - own).abs()
    hits = hits_of(testbed, x, labels, judged, bank=bank)
    return SampleSet(
        method=method,
        features=seen.features,
        logits=seen.logits,
        spatial=seen.spatial,
        hits=hits & ~failures.rows[:, None],
        divergence=divergence,
        failed=failures.rows,
        evaluations=samples.evaluations,
        shown=samples.x[:shown],
        num_classes=testbed.num_classes,
        failures={name: int(rows.sum()) for name, rows in failures._asdict().items()},
    )
