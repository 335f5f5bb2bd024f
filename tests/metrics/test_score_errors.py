"""Errors of classifiers' gradients where everything is known, and of those that know nothing."""

import pytest
import torch
from torch import Tensor

import guidegym as gg
from guidegym.metrics.score_errors import guided_error, score_error


@pytest.mark.parametrize("timestep", [50, 300, 700])
def test_the_exact_classifier_s_own_score_is_the_denoiser_s_and_its_class_gradient_lowers_the_error(
    timestep: int,
) -> None:
    testbed = gg.load_testbed("gaussians")
    assert testbed.test_data is not None
    rows = testbed.test_data(None)
    exact = testbed.classifier("exact")
    own = score_error(exact, rows.x, process=testbed.process, timestep=timestep)
    errors = guided_error(exact, testbed.unconditional(), *rows, process=testbed.process, timestep=timestep)
    assert own == pytest.approx(errors.denoiser, rel=1e-3)
    assert 0 < errors.guided < errors.denoiser < 1


def test_a_classifier_that_knows_nothing_has_an_error_of_one_and_guides_nowhere() -> None:
    testbed = gg.load_testbed("gaussians")
    assert testbed.test_data is not None
    rows = testbed.test_data(None)

    def flat(x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros(len(x), 2) * x.sum()

    assert score_error(flat, rows.x, process=testbed.process, timestep=300) == pytest.approx(1, abs=0.05)
    errors = guided_error(flat, testbed.unconditional(), *rows, process=testbed.process, timestep=300)
    assert errors.guided == pytest.approx(errors.denoiser, rel=1e-6)
