"""All sample-set metrics as objectives, and any objective measured with an interval."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from guidegym.diffusion import DDIM
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metric_families import in_rows
from guidegym.evaluation.measuring.metrics import METRICS, values_of
from guidegym.evaluation.measuring.sample_set import SampleSet, hits_of
from guidegym.guidance import Guidance
from guidegym.metrics.resampling import recentred, resampling_weights
from guidegym.objectives import Finished, Objective
from guidegym.objectives.sets import kid_witness
from guidegym.registry import register
from guidegym.testbeds import References

METRIC_OF: Mapping[str, str] = {
    "kid": "intra_kid",
    "mixture_kid": "kid",
    **{name: name for name in METRICS if name not in ("kid", "intra_kid", "accuracy", "energy_divergence")},
}
"""Metrics by objective name: ``kid`` is the class-wise distance, ``mixture_kid`` that of all classes together."""
UNNAMED = Method("", Guidance(), DDIM(1))
"""Placeholder for samples without a method."""


def set_of(finished: Finished, *, bank: bool = False) -> tuple[SampleSet, References]:
    """Arrange samples as a set with equally many of each class present, and return it with the references of those classes.

    Surplus samples of a class are left out. Without the ``bank`` of judges, the testbed's own alone sees them.
    """
    classes = finished.labels.unique()
    of_class = [(finished.labels == label).nonzero()[:, 0] for label in classes]
    per_class = min(len(rows) for rows in of_class)
    own = finished.rows(torch.stack([rows[:per_class] for rows in of_class], dim=1).flatten())
    references, testbed = finished.testbed.references, finished.testbed
    if len(classes) < testbed.num_classes:
        kept: dict[str, Any] = {name: getattr(references, name)[classes] for name in ("features", "mean", "covariance")}
        references = replace(references, **kept)
    return SampleSet(
        method=UNNAMED,
        features=own.seen.features,
        logits=own.seen.logits,
        spatial=own.seen.spatial,
        hits=hits_of(testbed, own.x, own.labels, own.seen.logits, bank=bank),
        failed=torch.zeros(len(own.x), dtype=torch.bool, device=own.x.device),
        evaluations=torch.zeros(len(own.x), 4, dtype=torch.long, device=own.x.device),
        shown=own.x[:0],
        num_classes=len(classes),
    ), references


def _number(name: str, finished: Finished) -> Tensor:
    """Return a metric of the set."""
    metric = METRIC_OF[name]
    own, references = set_of(finished, bank=metric == "robustness")
    per_class = len(own.features) // own.num_classes
    if per_class < METRICS[metric].least:
        raise GuideGymError(
            f"objective '{name}' needs at least {METRICS[metric].least} samples per class in a set, got {per_class}"
        )
    values = values_of(own, references, [metric])
    if metric not in values:
        raise GuideGymError(f"objective '{name}' cannot be measured on testbed '{finished.testbed.name}'")
    return torch.tensor(values[metric], dtype=torch.float64, device=finished.x.device)


for _name, _metric in METRIC_OF.items():
    register("objective", _name)(
        Objective(
            _name,
            partial(_number, _name),
            "minimize" if METRICS[_metric].lower_is_better else "maximize",
            None if METRICS[_metric].lower_is_better else 0.0,
            title="KID" if _name == "kid" else METRICS[_metric].title,
            credit=(lambda finished: -kid_witness(finished)) if _name == "kid" else None,
        )
    )


def values_by(objective: Objective, finished: Finished, failed: Tensor) -> Tensor:
    """Return the value per sample, or that of the set, float64 on the CPU.

    Failed samples get the floor, and so does a number of a whole set that has any.
    """
    return _floored(objective(finished), objective, failed)


def _floored(values: Tensor, objective: Objective, failed: Tensor) -> Tensor:
    worst, failed = objective.sign * objective.least_reward, failed.cpu()
    plain = values.detach().double().cpu().nan_to_num(worst, worst, worst)
    return plain.masked_fill(failed if plain.ndim == 1 else failed.any(), worst)


def measure_objective(
    objective: Objective, finished: Finished, own: SampleSet, *, resamples: int, seed: int
) -> Measurement:
    """Measure a set by an objective, with a bootstrap interval drawn within classes, as for the metrics.

    ``finished`` are the samples of the set in the same order; see ``values_by`` for failed ones.
    """
    found = objective(finished)
    values = _floored(found, objective, own.failed)
    per_class = len(own.features) // own.num_classes
    weights = in_rows(resampling_weights(own.num_classes, per_class, resamples=resamples, seed=seed))
    if values.ndim == 1:
        return Measurement.mean(values, weights)
    value = float(values)
    if own.num_failed or not bool(found.isfinite()):
        return Measurement.constant(value, resamples=resamples)  # at the floor, resampling changes nothing
    places = torch.arange(len(own.features))
    drawn = [objective(finished.rows(places.repeat_interleave(row.long()).to(finished.x.device))) for row in weights]
    draws = torch.stack([one.detach().double().cpu() for one in drawn])
    return Measurement(value, draws, recentred(value, draws))
