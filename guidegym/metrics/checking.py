"""Checks of the inputs of metrics: sets of features, logits and labels."""

import torch
from torch import Tensor

from guidegym.errors import GuideGymError


def check_finite(name: str, values: Tensor) -> None:
    """Reject non-finite numbers, whose results would look like valid measurements.

    Raises:
        GuideGymError: If a value is NaN or infinite.
    """
    if not bool(values.isfinite().all()):
        wrong = int((~values.isfinite()).sum())
        raise GuideGymError(f"`{name}` must be finite, got {wrong} of {values.numel()} numbers that are not")


def check_features(name: str, rows: Tensor, *, least: int = 1, by_class: bool = False) -> None:
    """Check one set of features, (n, dim), or by class, (classes, n, dim), with at least ``least`` rows (per class).

    Raises:
        GuideGymError: If they have another shape, are too few or not finite.
    """
    shape = "(classes, n, dim)" if by_class else "(n, dim)"
    if rows.ndim != 2 + by_class or 0 in rows.shape:
        raise GuideGymError(f"`{name}` must have shape {shape} and not be empty, got {tuple(rows.shape)}")
    if rows.shape[-2] < least:
        of = " per class" if by_class else ""
        raise GuideGymError(f"`{name}` must have at least {least} rows{of}, got {rows.shape[-2]}")
    check_finite(name, rows)


def check_sets(samples: Tensor, real: Tensor, *, least: int = 1, by_class: bool = False) -> None:
    """Check that two sets of features lie in the same space; see ``check_features``.

    Raises:
        GuideGymError: If one is empty, has another shape or is not finite, the samples are too few, or the two differ in
            dimensions or classes.
    """
    check_features("samples", samples, least=least, by_class=by_class)
    check_features("real", real, by_class=by_class)
    if samples.shape[-1] != real.shape[-1]:
        raise GuideGymError(
            f"features of {samples.shape[-1]} and {real.shape[-1]} dimensions belong to different spaces and cannot be compared"
        )
    if by_class and len(samples) != len(real):
        raise GuideGymError(f"`samples` have {len(samples)} classes and `real` {len(real)}: one is missing")


def check_moments(mean: Tensor, covariance: Tensor) -> None:
    """Check a mean and a covariance.

    Raises:
        GuideGymError: If their dimensions differ or they are not finite.
    """
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise GuideGymError(
            f"a mean of shape {tuple(mean.shape)} and a covariance of shape {tuple(covariance.shape)} are inconsistent"
        )
    check_finite("mean", mean)
    check_finite("covariance", covariance)


def check_logits(logits: Tensor) -> None:
    """Check a classifier's logits; minus infinity means an excluded class, and is allowed if not all are excluded.

    Raises:
        GuideGymError: If their shape is not (n, classes), they are empty, or a row's largest is not finite.
    """
    if logits.ndim != 2 or 0 in logits.shape:
        raise GuideGymError(f"`logits` must have shape (n, classes) and not be empty, got {tuple(logits.shape)}")
    check_finite("logits", logits.amax(dim=1))


def check_labelled(logits: Tensor, labels: Tensor) -> None:
    """Check a classifier's logits, and that each row has a class.

    Raises:
        GuideGymError: As in ``check_logits``, or if the labels are not whole numbers, one per row, in 0 .. classes - 1.
    """
    check_logits(logits)
    num_rows, num_classes = logits.shape
    if labels.shape != (num_rows,) or labels.is_floating_point():
        raise GuideGymError(
            f"`labels` must be {num_rows} whole numbers, one per row, got shape {tuple(labels.shape)} of {labels.dtype}"
        )
    if wrong := [label for label in labels.tolist() if not 0 <= label < num_classes]:
        raise GuideGymError(f"`labels` must be in 0..{num_classes - 1}, got {wrong[0]}")


def checked_weights(weights: Tensor | None, rows: Tensor) -> Tensor:
    """Return the numbers of draws of rows in resamples, in float64; None is one resample with each row once.

    Raises:
        GuideGymError: If they are not (resamples, n), finite and >= 0 with at least one row drawn in each resample.
    """
    if weights is None:
        return torch.ones(1, len(rows), dtype=torch.float64, device=rows.device)
    if weights.ndim != 2 or weights.shape[1] != len(rows):
        raise GuideGymError(f"`weights` must have shape (resamples, {len(rows)}), got {tuple(weights.shape)}")
    check_finite("weights", weights)
    if bool((weights < 0).any()) or bool((weights.sum(dim=1) <= 0).any()):
        raise GuideGymError("`weights` must be >= 0 and draw at least one row in each resample")
    return weights.double()
