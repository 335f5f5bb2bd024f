"""Computation of sample-set metrics for many resamples at once; the metrics of a family share computations."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.metrics import class_kernels, extrapolated_frechet, mixture_distance, resampled_frechet
from guidegym.metrics.inception_score import inception_score
from guidegym.metrics.neighbours import NeighbourScores, neighbour_scores
from guidegym.testbeds import References

HALVINGS = 4
"""Number of random halvings of a set for the extrapolated Frechet distance."""
Weights: TypeAlias = Float[Tensor, " resamples classes n"]
"""Number of draws of each sample in each resample, by class."""
Values: TypeAlias = Mapping[str, Float[Tensor, " resamples"]]
Family: TypeAlias = Callable[[SampleSet, References, Weights], Values]


def in_rows(weights: Weights) -> Float[Tensor, " resamples rows"]:
    """Return weights in row order, which cycles through the classes."""
    return weights.transpose(1, 2).flatten(1)


def halves(num_classes: int, per_class: int) -> Tensor:
    """Return halvings of the rows that keep the classes' shares: booleans, (halvings, rows)."""
    generator = torch.Generator().manual_seed(0)
    ways = []
    for _ in range(HALVINGS):
        order = torch.rand(num_classes, per_class, generator=generator).argsort(dim=1)
        ways.append((order < per_class // 2).mT.flatten())
    return torch.stack(ways)


def frechet(own: SampleSet, references: References, weights: Weights) -> Values:
    """Frechet distance to the mixture of all classes with equal shares."""
    return {"frechet": resampled_frechet(own.features, in_rows(weights), *references.pooled)}


def frechet_infinite(own: SampleSet, references: References, weights: Weights) -> Values:
    """Frechet distance extrapolated to infinitely many samples."""
    ways = halves(weights.shape[1], weights.shape[2]).to(own.features.device)
    values = extrapolated_frechet(
        own.features, in_rows(weights), *references.pooled, halves=ways, num_classes=own.num_classes
    )
    return {"frechet_infinite": values}


def spatial_frechet(own: SampleSet, references: References, weights: Weights) -> Values:
    """Frechet distance in the spatial features (sFID); nothing if there are none."""
    if own.spatial is None or references.spatial is None:
        return {}
    return {"spatial_frechet": resampled_frechet(own.spatial, in_rows(weights), *references.spatial)}


def class_frechet(own: SampleSet, references: References, weights: Weights) -> Values:
    """Mean over classes of the Frechet distance to the class."""
    values = [
        resampled_frechet(rows, weights[:, label], references.mean[label], references.covariance[label])
        for label, rows in enumerate(own.by_class(own.features))
    ]
    return {"intra_frechet": torch.stack(values).mean(dim=0)}


def kernel(own: SampleSet, references: References, weights: Weights) -> Values:
    """Kernel distance to the mixture of all classes with equal shares."""
    return {"kid": mixture_distance(own.by_class(own.features), references.features, weights)}


def class_kernel(own: SampleSet, references: References, weights: Weights) -> Values:
    """Mean over classes of the kernel distance to the class: the default objective of searches."""
    kernels = class_kernels(own.by_class(own.features), references.features, references.self_term)
    return {"intra_kid": kernels.distance(weights)}


def neighbours(own: SampleSet, references: References, weights: Weights) -> Values:
    """Precision, recall, density and coverage against about as many real rows, of each class alike, as there are samples."""
    per_class = max(1, len(own.features) // len(references.features))
    real = references.features[:, :per_class].flatten(0, 1)
    return neighbour_scores(own.features, real, in_rows(weights))._asdict()


def class_neighbours(own: SampleSet, references: References, weights: Weights) -> Values:
    """Means over classes of precision, recall, density and coverage."""
    scores = [
        neighbour_scores(rows, references.features[label, : len(rows)], weights[:, label])
        for label, rows in enumerate(own.by_class(own.features))
    ]
    return {
        f"intra_{name}": torch.stack([getattr(score, name) for score in scores]).mean(dim=0)
        for name in NeighbourScores._fields
    }


def inception(own: SampleSet, references: References, weights: Weights) -> Values:
    """Inception Score over the extractor's classes."""
    return {"inception_score": inception_score(own.logits, in_rows(weights))}


def of_rows(own: SampleSet, references: References, weights: Weights) -> Values:
    """Means over rows: class accuracy, accuracy over the bank of judges, and energy divergence if it was measured."""
    rows = in_rows(weights)
    values = {"accuracy": own.hits[:, 0].double(), "robustness": own.hits.double().mean(dim=1)}
    if own.divergence is not None:
        values["energy_divergence"] = own.divergence.double()
    return {name: rows @ value / rows.sum(dim=1) for name, value in values.items()}
