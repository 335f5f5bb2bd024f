"""Calibration against a plain loop, and on classifiers whose calibration is known."""

import math

import pytest
import torch

from guidegym.metrics.calibration import expected_calibration_error, reliability


def _logits(num: int = 3000, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels drawn from their softmax: calibrated by construction, unless scaled."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(num, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_error_is_that_of_a_plain_loop(scale: float) -> None:
    logits, labels = _logits(scale=scale)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wanted = 0.0
    for index in range(20):
        inside = (confidence > index / 20) & (confidence <= (index + 1) / 20)
        if bool(inside.any()):
            hit = (predicted[inside] == labels[inside]).double().mean()
            wanted += float(inside.double().mean() * (hit - confidence[inside].double().mean()).abs())
    assert expected_calibration_error(logits, labels) == pytest.approx(wanted, abs=1e-6)
    held = reliability(logits, labels)
    share = held.count / held.count.sum()
    own = float((share * (held.accuracy - held.confidence).abs()).nansum())
    assert own == pytest.approx(wanted, abs=1e-6)


def test_full_confidence_belongs_to_the_last_bin() -> None:
    # By hand: confidences s = sigmoid(3.3) = 0.96443 (right) and 1 (wrong) share the bin (0.95, 1]: |1/2 - (s + 1) / 2|.
    two = expected_calibration_error(torch.tensor([[3.3, 0.0], [40.0, 0.0]]), torch.tensor([0, 1]))
    assert two == pytest.approx(1 / (1 + math.exp(-3.3)) / 2, abs=1e-6)
    # 0.96 that is always right and 1.0 that is right 96 times in 100 make 0.98 that is right 98 times in 100.
    logits = torch.tensor([[math.log(0.96 / 0.04), 0.0]] * 100 + [[60.0, 0.0]] * 100, dtype=torch.float64)
    labels = torch.tensor([0] * 196 + [1] * 4)
    assert expected_calibration_error(logits, labels) == pytest.approx(0.0, abs=1e-9)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    held = reliability(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]), bins=4)  # (0.25, 0.5]
    assert held.count.tolist() == [0, 2, 0, 0]


def test_a_calibrated_classifier_has_little_error_and_an_overconfident_one_much() -> None:
    assert expected_calibration_error(*_logits(30_000)) < 0.02
    assert expected_calibration_error(*_logits(30_000, scale=4.0)) > 0.1
    certain = torch.tensor([[50.0, 0.0]]).repeat(10, 1)
    assert expected_calibration_error(certain, torch.zeros(10, dtype=torch.long)) == pytest.approx(0.0, abs=1e-6)
    assert expected_calibration_error(certain, torch.ones(10, dtype=torch.long)) == pytest.approx(1.0, abs=1e-6)
