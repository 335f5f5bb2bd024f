"""Judges: networks that measure clean samples, and never guide."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.models.checked import own_dtype

CHUNK = 500
"""Number of samples that a judge evaluates at a time."""
SPATIAL_MAPS = 4
"""Number of the judge's feature maps that form the space of the spatial Frechet distance."""


@runtime_checkable
class JudgeNetwork(Protocol):
    """A classifier that measures: features of clean samples, and logits of those features."""

    def features(self, x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch dim"]:
        """Return the features that distances are measured in."""
        ...

    def classify(self, features: Float[Tensor, " batch dim"]) -> Float[Tensor, " batch classes"]:
        """Return the logits of ``features``."""
        ...


@runtime_checkable
class SpatialJudge(JudgeNetwork, Protocol):
    """A judge that also returns spatial feature maps."""

    def features_and_maps(
        self, x: Float[Tensor, " batch *event"]
    ) -> tuple[Float[Tensor, " batch dim"], Float[Tensor, " batch maps rows columns"]]:
        """Return the features and the maps that they are pooled from."""
        ...


class Seen(NamedTuple):
    """A judge's outputs for a set of samples.

    Args:
        features: The features that distances are measured in.
        logits: Its logits.
        spatial: Spatial features; None if the judge has none.
    """

    features: Float[Tensor, " n dim"]
    logits: Float[Tensor, " n classes"]
    spatial: Float[Tensor, " n places"] | None

    def hits(self, labels: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Return whether the judge assigns each sample to its wanted class."""
        return self.logits.argmax(dim=1) == labels


@torch.no_grad()
def seen_by(judge: JudgeNetwork, x: Float[Tensor, " n *event"]) -> Seen:
    """Evaluate a judge on clean samples once, in chunks so that memory does not grow with the batch, and return all outputs.

    Raises:
        GuideGymError: If the judge's features are not one vector per row.

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
