"""The max-Mahalanobis centres and the classifier around them."""

import pytest
import torch

from guidegym import GuideGymError
from guidegym.networks import MaxMahalanobisClassifier, max_mahalanobis_means


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
@pytest.mark.parametrize("spare", [-1, 0, 28])
def test_the_centres_have_one_norm_equal_angles_and_no_sum(num_classes: int, spare: int) -> None:
    means = max_mahalanobis_means(num_classes, num_classes + spare, 10.0)
    gram = means @ means.T
    wanted = torch.full_like(gram, -100 / (num_classes - 1)).fill_diagonal_(100.0)
    torch.testing.assert_close(gram, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(means.sum(dim=0), torch.zeros(num_classes + spare).double(), rtol=0, atol=1e-9)


def test_impossible_centres_are_refused() -> None:
    for wrong in ((1, 5, 10.0), (7, 5, 10.0), (3, 5, 0.0)):
        with pytest.raises(GuideGymError, match=r"`num_classes` must be|`scale` must be"):
            max_mahalanobis_means(*wrong)


def test_logits_are_those_of_the_mixture_and_finite_far_out() -> None:
    torch.manual_seed(0)
    network = MaxMahalanobisClassifier(channels=(8, 16), image_size=8, feature_dim=12)
    network.variance.fill_(0.7)
    features = torch.nn.functional.normalize(torch.randn(5, 12), dim=1) * 600
    logits = network.logits_of(features)
    for row in range(5):
        for label in range(10):
            squared = float((features[row].double() - network.means[label].double()).square().sum())
            assert float(logits[row, label]) == pytest.approx(-squared / 1.4, rel=1e-5)
    assert bool(logits.logsumexp(dim=1).isfinite().all())
    assert bool(logits.log_softmax(dim=1).isfinite().all())
    x = torch.zeros(2, 1, 8, 8)
    torch.testing.assert_close(network(x, torch.zeros(2)), network.logits_of(network.features(x)))
