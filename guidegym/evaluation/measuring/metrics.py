"""The metrics of sample sets by name, with direction, smallest set size, and kind of interval."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring import metric_families as families
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.metric_families import Family
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.metrics.neighbours import NEAREST_COVERAGE
from guidegym.metrics.resampling import Estimate, interval_around, recentred, resampling_weights
from guidegym.testbeds import References

RESAMPLES = 200
FEW = 2
"""With fewer samples than this multiple of the dimension, a covariance is mostly noise."""


@dataclass(frozen=True)
class Metric:
    """One number of a sample set.

    Args:
        title: Its heading in tables.
        family: The function that computes it.
        lower_is_better: Its direction.
        share: Whether it is a share, shown in percent.
        biased: Whether repeated samples bias it: then only the spread of its resamples is used.
        least: Samples per class below which it is undefined.
        space: Space whose covariance it estimates, over the set or over each class: ``pooled``, ``class``, ``spatial``.
    """

    title: str
    family: Family
    lower_is_better: bool
    share: bool = False
    biased: bool = False
    least: int = 1
    space: str = ""

    @property
    def worst(self) -> float:
        """The value of a set with failed samples: infinite, or NaN if higher is better."""
        return math.inf if self.lower_is_better else math.nan


_SPAN = NEAREST_COVERAGE + 1
METRICS: Mapping[str, Metric] = {
    "frechet": Metric("Frechet", families.frechet, True, biased=True, least=2, space="pooled"),
    "frechet_infinite": Metric(
        "Frechet, n = inf", families.frechet_infinite, True, biased=True, least=4, space="pooled"
    ),
    "spatial_frechet": Metric("spatial Frechet", families.spatial_frechet, True, biased=True, least=2, space="spatial"),
    "kid": Metric("KID", families.kernel, True, least=2),
    "inception_score": Metric("Inception Score", families.inception, False),
    "precision": Metric("precision", families.neighbours, False, share=True, least=_SPAN),
    "recall": Metric("recall", families.neighbours, False, share=True, biased=True, least=_SPAN),
    "density": Metric("density", families.neighbours, False, least=_SPAN),
    "coverage": Metric("coverage", families.neighbours, False, share=True, biased=True, least=_SPAN),
    "intra_frechet": Metric("intra-Frechet", families.class_frechet, True, biased=True, least=2, space="class"),
    "intra_kid": Metric("intra-KID", families.class_kernel, True, least=2),
    "intra_precision": Metric("intra-precision", families.class_neighbours, False, share=True, least=_SPAN),
    "intra_recall": Metric("intra-recall", families.class_neighbours, False, share=True, biased=True, least=_SPAN),
    "intra_density": Metric("intra-density", families.class_neighbours, False, least=_SPAN),
    "intra_coverage": Metric("intra-coverage", families.class_neighbours, False, share=True, biased=True, least=_SPAN),
    "accuracy": Metric("accuracy", families.of_rows, False, share=True),
    "robustness": Metric("robustness@1", families.of_rows, False, share=True),
    "energy_divergence": Metric("energy divergence", families.of_rows, True),
}
"""Names of class-wise means begin with ``intra_``; a class-wise Inception Score would be 1 by definition."""


def check_names(names: Sequence[str]) -> None:
    """Check that metrics exist.

    Raises:
        GuideGymError: If a metric does not exist.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise GuideGymError(f"no metric '{unknown[0]}'; known: {', '.join(METRICS)}")


def check_size(names: Sequence[str], references: References, *, per_class: int) -> None:
    """Reject sets that are too small for a metric, and warn of those on which it is unreliable.

    Raises:
        GuideGymError: If there are too few samples, or real rows, of a class.
    """
    most = max(names, key=lambda name: METRICS[name].least)
    if per_class < METRICS[most].least:
        raise GuideGymError(f"`{most}` needs at least {METRICS[most].least} samples per class, got {per_class}")
    rows, dim = per_class * len(references.features), references.features.shape[2]
    places = 0 if references.spatial is None else len(references.spatial[0])
    for space, num, wide in (("pooled", rows, dim), ("class", per_class, dim), ("spatial", rows, places)):
        concerned = [METRICS[name].title for name in names if METRICS[name].space == space]
        if concerned and num < FEW * wide:
            warnings.warn(
                f"{num} samples are few for {', '.join(concerned)} in {wide} dimensions: the numbers are mostly bias; "
                f"at least {FEW * wide} samples{' per class' if space == 'class' else ''} are advised",
                UserWarning,
                stacklevel=2,
            )


def _estimate(metric: Metric, value: float, draws: Tensor) -> Estimate:
    estimate = (recentred if metric.biased else interval_around)(value, draws)
    if not metric.share:
        return estimate
    return Estimate(value, max(0.0, estimate.low), min(1.0, estimate.high))


def _family_values(
    own: SampleSet, references: References, names: Sequence[str], weights: families.Weights
) -> dict[str, Float[Tensor, " resamples"] | None]:
    """Return metrics under each row of weights; None if failed samples leave a metric undefined, no entry if unavailable."""
    failed = bool(own.failed.any())
    computed: set[Family] = set()
    found: dict[str, Tensor | None] = {}
    absent = {
        "spatial_frechet": own.spatial is None or references.spatial is None,
        "energy_divergence": own.divergence is None,
    }
    for name in (name for name in names if not absent.get(name, False)):
        metric = METRICS[name]
        # A failed sample is a miss in a share of hits; all other metrics are undefined.
        if failed and not (metric.share and metric.family is families.of_rows):
            found[name] = None
        elif metric.family not in computed:
            computed.add(metric.family)
            values = metric.family(own, references, weights)
            found = {**{key: one.cpu().double() for key, one in values.items()}, **found}
    return {name: found[name] for name in names if name in found}


def values_of(own: SampleSet, references: References, names: Sequence[str]) -> dict[str, float]:
    """Return a set's numbers without intervals: infinite or NaN if a sample failed."""
    once = torch.ones(1, own.num_classes, len(own.features) // own.num_classes, dtype=torch.float64)
    values = _family_values(own, references, names, once.to(own.features.device))
    return {name: METRICS[name].worst if one is None else float(one[0]) for name, one in values.items()}


def measure_set(
    own: SampleSet, references: References, names: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Measurement]:
    """Measure one set by names from ``METRICS``; those that the set has no data for are left out.

    Intervals are from >= 2 bootstrap ``resamples`` within classes; methods that are compared need the same ``seed``.
    """
    per_class = len(own.features) // own.num_classes
    drawn = resampling_weights(own.num_classes, per_class, resamples=resamples, seed=seed)
    weights = torch.cat([torch.ones_like(drawn[:1]), drawn]).to(own.features.device)
    return {
        name: Measurement.constant(METRICS[name].worst, resamples=resamples)
        if one is None
        else Measurement(float(one[0]), one[1:], _estimate(METRICS[name], float(one[0]), one[1:]))
        for name, one in _family_values(own, references, names, weights).items()
    }
