"""What is seen of a method's samples: all that their numbers are made of."""

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
from guidegym.testbeds import Testbed
from guidegym.testbeds.judge import seen_by


@dataclass(frozen=True, eq=False)
class SampleSet:
    """One method's samples as they were seen; rows are class by class in turn (0, 1, ..., K - 1, 0, 1, ...).

    Args:
        method: The method.
        features: In the extractor's space.
        logits: The extractor's.
        spatial: By place; None where the extractor keeps none.
        hits: Whether each judge takes the row for the wanted class, never where it failed; the first column is the judge's own.
        divergence: Energy divergence :math:`|E^*_c - E(x)|` of each row; None where it was not asked for.
        failed: Rows that became non-finite, saturated, or ran far away from all real data.
        evaluations: Network evaluations of each row, in the order of ``Cost``.
        shown: The first samples, whole.
        num_classes: Number of classes.
        seconds: Seconds that sampling took; 0 where they were not taken.
        failures: Failed rows by what is wrong with them; None where it was not kept.
    """

    method: Method
    features: Float[Tensor, " n dim"]
    logits: Float[Tensor, " n outputs"]
    spatial: Float[Tensor, " n places"] | None
    hits: Bool[Tensor, " n judges"]
    divergence: Float[Tensor, " n"] | None
    failed: Bool[Tensor, " n"]
    evaluations: Int[Tensor, " n 4"]
    shown: Float[Tensor, " some *event"]
    num_classes: int
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
        """Network evaluations per sample, forward and backward alike."""
        return int(self.evaluations.sum()) / len(self.evaluations)

    @property
    def shown_labels(self) -> Int[Tensor, " some"]:
        """Wanted classes of the samples that are kept whole."""
        return torch.arange(len(self.shown)) % self.num_classes


def hits_of(
    testbed: Testbed,
    x: Float[Tensor, " n *event"],
    labels: Int[Tensor, " n"],
    judged: Float[Tensor, " n classes"],
    *,
    bank: bool,
) -> Bool[Tensor, " n judges"]:
    """Return whether each judge takes a sample for its wanted class, the testbed's own judge first.

    Args:
        testbed: Where the samples come from.
        x: The samples.
        labels: Their wanted classes.
        judged: The judge's logits.
        bank: Whether all judges of the bank are asked, or the judge alone.
    """
    others = [judge for judge in testbed.judges.values() if bank and judge is not testbed.judge]
    logits = [judged, *(seen_by(judge, x).logits for judge in others)]
    return torch.stack([one.argmax(dim=1) == labels for one in logits], dim=1)


def look(
    method: Method,
    samples: Samples,
    testbed: Testbed,
    extractor: Extractor,
    *,
    bank: bool = True,
    energy: str | None = None,
    shown: int | None = None,
    seconds: float = 0.0,
) -> SampleSet:
    """Look at a method's samples once.

    Args:
        method: The method.
        samples: Its samples.
        testbed: Where they come from.
        extractor: What looks at them.
        bank: Whether all judges of the bank say what they take each sample for, or the judge alone.
        energy: Classifier whose energy divergence is measured; None for none.
        shown: How many of the first samples are kept whole; None for all.
        seconds: Seconds that sampling took.
    """
    x, labels = samples.x.nan_to_num(0.0), samples.labels
    seen = extractor.look(x)
    failures = failures_of(testbed, samples.x, seen.features, extractor.references.features)
    # A chain that became non-finite was stopped before: what is left of it may be finite.
    failures = failures._replace(not_finite=failures.not_finite | samples.failed)
    # The judge comes first: its hits are the class accuracy. Where it is the extractor it has looked already.
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
        seconds=seconds,
        failures={name: int(rows.sum()) for name, rows in failures._asdict().items()},
    )
