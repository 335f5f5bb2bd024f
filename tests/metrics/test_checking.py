"""What cannot be measured is said in one line by every measure, before any number is made of it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from guidegym.errors import GuideGymError
from guidegym.metrics import (
    class_kernels,
    extrapolated_frechet,
    frechet_distance,
    mixture_distance,
    moments,
    reference_self_term,
    resampled_frechet,
)
from guidegym.metrics.accuracy import share_right
from guidegym.metrics.calibration import expected_calibration_error, reliability
from guidegym.metrics.energies import energies_by_class, energies_of
from guidegym.metrics.gradients import gradient_quality
from guidegym.metrics.inception_score import inception_score
from guidegym.metrics.neighbours import nearest_distances, neighbour_scores
from guidegym.metrics.outside import auroc

ROWS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
CLASSES = ROWS.reshape(2, 6, 3)
LABELS = torch.arange(12) % 3
EYE, ONES = torch.eye(3), torch.ones(1, 12)
HALVES = (torch.arange(12) % 2 == 0)[None]

OF_ROWS: dict[str, Callable[[Tensor], object]] = {
    "moments": moments,
    "resampled_frechet": lambda x: resampled_frechet(x, torch.ones(1, len(x)), torch.zeros(3), EYE),
    "extrapolated_frechet": lambda x: extrapolated_frechet(
        x, torch.ones(1, len(x)), torch.zeros(3), EYE, halves=HALVES[:, : len(x)]
    ),
    "nearest_distances": lambda x: nearest_distances(x, (3,)),
    "neighbour_scores": lambda x: neighbour_scores(x, ROWS),
    "neighbour_scores_real": lambda x: neighbour_scores(ROWS, x),
    "gradient_quality": lambda x: gradient_quality(x, ROWS, ROWS),
    "class_kernels": lambda x: class_kernels(x.reshape(2, -1, 3), CLASSES, reference_self_term(CLASSES)),
    "mixture_distance": lambda x: mixture_distance(x.reshape(2, -1, 3), CLASSES),
}
OF_LOGITS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "reliability": reliability,
    "expected_calibration_error": expected_calibration_error,
    "share_right": share_right,
    "energies_of": energies_of,
    "energies_by_class": energies_by_class,
}


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(name: str, value: float, unchecked: None) -> None:
    OF_ROWS[name](ROWS)
    broken = ROWS.clone()
    broken[7, 1] = value
    with pytest.raises(GuideGymError, match="must be finite, got 1 of 36 numbers that are not"):
        OF_ROWS[name](broken)


@pytest.mark.parametrize("name", sorted(OF_ROWS.keys() - {"gradient_quality"}))
def test_too_few_rows_are_refused(name: str, unchecked: None) -> None:
    with pytest.raises(GuideGymError, match=r"at least|more than one row"):
        OF_ROWS[name](ROWS[:2] if name in ("class_kernels", "mixture_distance") else ROWS[:1])


def test_two_rows_have_no_halves_to_extrapolate_from(unchecked: None) -> None:
    with pytest.raises(GuideGymError, match="`features` must have at least 4 rows, got 2"):
        OF_ROWS["extrapolated_frechet"](ROWS[:2])


def test_moments_of_different_spaces_are_refused(unchecked: None) -> None:
    with pytest.raises(GuideGymError, match="features of 3 and 2 dimensions"):
        frechet_distance(torch.zeros(3), EYE, torch.zeros(2), torch.eye(2))
    with pytest.raises(GuideGymError, match="are inconsistent"):
        frechet_distance(torch.zeros(3), EYE, torch.zeros(3), torch.eye(2))
    with pytest.raises(GuideGymError, match="`covariance` must be finite"):
        frechet_distance(torch.zeros(3), EYE, torch.zeros(3), EYE * torch.nan)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_logits_and_labels_that_mean_nothing_are_refused(name: str, unchecked: None) -> None:
    measure = OF_LOGITS[name]
    measure(ROWS, LABELS)
    broken = ROWS.clone()
    broken[0, 0] = torch.nan
    with pytest.raises(GuideGymError, match="`logits` must be finite"):
        measure(broken, LABELS)
    for wrong in (-1, 3):
        with pytest.raises(GuideGymError, match=rf"`labels` must be in 0..2, got {wrong}"):
            measure(ROWS, LABELS.index_fill(0, torch.tensor([4]), wrong))
    with pytest.raises(GuideGymError, match="`labels` must be 12 whole numbers"):
        measure(ROWS, LABELS[:5])


def test_scores_and_weights_that_mean_nothing_are_refused(unchecked: None) -> None:
    with pytest.raises(GuideGymError, match="`outside` must be finite"):
        auroc(torch.zeros(3), torch.tensor([torch.nan]))
    with pytest.raises(GuideGymError, match="`logits` must be finite"):
        inception_score(ROWS * torch.nan)
    for weights in (torch.ones(1, 5), -ONES, 0 * ONES, torch.nan * ONES):
        with pytest.raises(GuideGymError, match="`weights`"):
            inception_score(ROWS, weights)
        with pytest.raises(GuideGymError, match="`weights`"):
            resampled_frechet(ROWS, weights, torch.zeros(3), EYE)
        with pytest.raises(GuideGymError, match="`weights`"):
            neighbour_scores(ROWS, ROWS, weights)
