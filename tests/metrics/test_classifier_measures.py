"""Energies, outside images, gradients and purification where the truth is known."""

import math

import pytest
import torch
from torch import Tensor

from guidegym import GuideGymError, Testbed, VPProcess, load_testbed
from guidegym.metrics.accuracy import accuracy, dark_accuracy, noisy_accuracy, robust_accuracy
from guidegym.metrics.energies import energies_by_class, energies_of
from guidegym.metrics.gradients import gradient_quality, log_likelihood_gradient
from guidegym.metrics.outside import auroc, detection, likeness
from guidegym.metrics.purification import purify
from guidegym.testbeds.gaussians import GaussianMixture
from guidegym.testbeds.outside_data import outside_images


def _rows(exact: Testbed, num: int = 600) -> tuple[Tensor, Tensor]:
    assert exact.test_data is not None
    rows = exact.test_data(None)
    order = torch.randperm(len(rows.x), generator=torch.Generator().manual_seed(0))[:num]
    return rows.x[order], rows.labels[order]


def test_accuracy_falls_to_chance_along_the_chain(exact: Testbed) -> None:
    x, labels = _rows(exact, 2000)
    classify = exact.classifier("exact")
    clean, middle, end = (
        noisy_accuracy(classify, x, labels, process=exact.process, timestep=timestep) for timestep in (0, 300, 999)
    )
    assert clean > 0.97
    assert clean > middle + 0.05
    assert end == pytest.approx(0.5, abs=0.05)
    assert accuracy(classify, x, labels) == pytest.approx(clean, abs=0.01)


def test_darkness_fades_to_black_and_not_to_grey(exact: Testbed) -> None:
    seen: list[torch.Tensor] = []

    def classify(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.zeros(len(x), 2)

    x = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    dark_accuracy(classify, x, torch.zeros(1, dtype=torch.long), process=exact.process, timestep=500)
    share = float(exact.process.alpha_bar(torch.tensor([500])).sqrt())
    # As brightness in [0, 1], (x + 1) / 2, the image is multiplied by the share: black stays black.
    torch.testing.assert_close((seen[0] + 1) / 2, share * (x + 1) / 2)


def test_robust_training_costs_darkness_on_digits() -> None:
    digits = load_testbed("digits")
    assert digits.test_data is not None
    x, labels = digits.test_data(None)
    dark = [
        dark_accuracy(digits.classifier(name), x, labels, process=digits.process, timestep=900)
        for name in ("robust_r0", "robust")
    ]
    assert dark[1] < dark[0]  # the thesis' finding: the larger the radius, the less is seen in the dark


def test_accuracy_does_not_depend_on_order(exact: Testbed) -> None:
    x, labels = _rows(exact)
    classify = exact.classifier("exact")
    assert accuracy(classify, x.flip(0), labels.flip(0)) == accuracy(classify, x, labels)


def test_attacks_lower_the_accuracy_the_more_the_larger_they_are(exact: Testbed) -> None:
    x, labels = _rows(exact, 200)
    found = [
        robust_accuracy(exact.classifier("exact"), x, labels, radius=radius, bounds=None) for radius in (0.0, 0.3, 1.0)
    ]
    assert found[0] > found[1] > found[2]


def test_energies_are_those_of_a_plain_loop(exact: Testbed) -> None:
    x, labels = _rows(exact)
    logits = exact.classifier("exact")(x, torch.zeros(len(x), dtype=x.dtype))
    marginal, joint = energies_of(logits, labels)
    for row in range(0, len(x), 50):
        assert float(marginal[row]) == pytest.approx(-math.log(float(logits[row].exp().sum())))
        assert float(joint[row]) == pytest.approx(-float(logits[row, labels[row]]))
    means = energies_by_class(logits, labels)
    assert means.marginal.shape == means.joint.shape == (logits.shape[1],)
    of_first = [-math.log(float(row.exp().sum())) for row, label in zip(logits, labels, strict=True) if label == 0]
    assert float(means.marginal[0]) == pytest.approx(sum(of_first) / len(of_first))
    assert bool((means.joint >= means.marginal).all())
    assert bool(energies_by_class(logits[labels == 0], labels[labels == 0]).joint[1].isnan())  # no rows, no mean


def test_the_scores_are_density_confidence_and_flatness(exact: Testbed) -> None:
    x, _ = _rows(exact, 50)
    scores = likeness(exact.classifier("exact"), x)
    t = torch.zeros(len(x), dtype=x.dtype)
    torch.testing.assert_close(scores.log_density, exact.classifier("exact")(x, t).logsumexp(dim=1))
    mixture = GaussianMixture(VPProcess(), dtype=torch.float64, device=torch.device("cpu"))
    torch.testing.assert_close(scores.mass, -mixture.score(x, t).norm(dim=1))


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    inside, outside = torch.randn(40, generator=generator) * 50 + 300, torch.randn(60, generator=generator) * 50 + 270
    inside[:5] = outside[:5]  # ties
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in inside.tolist() for b in outside.tolist()]
    assert auroc(inside.double(), outside.double()) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_the_exact_density_tells_far_points_apart(exact: Testbed) -> None:
    x, _ = _rows(exact)
    found = detection(exact.classifier("exact"), x, {"far": x + 20, "same": x.flip(0)})
    assert found["far"]["log_density"] == pytest.approx(1.0)
    assert found["same"]["log_density"] == pytest.approx(0.5, abs=1e-6)


def test_outside_images_are_of_the_size_asked_for_and_in_range(fashion: Testbed) -> None:
    x = torch.rand(30, 1, 28, 28) * 2 - 1
    found = outside_images(x, num=20)
    assert set(found) == {"digits", "photographs", "interpolated", "noise"}
    for own in found.values():
        assert own.shape == (20, 1, 28, 28)
        assert float(own.abs().max()) <= 1.0
        assert float(own.std()) > 0.1
    assert "digits" not in outside_images(torch.zeros(5, 1, 8, 8), num=4)


def test_the_true_gradient_is_perfect_and_a_scaled_one_is_made_good_by_its_scale(exact: Testbed) -> None:
    x, labels = _rows(exact)
    t = torch.full((len(x),), 100.0, dtype=x.dtype)
    true = log_likelihood_gradient(exact.classifier("exact"), x, t, labels)
    mixture = GaussianMixture(VPProcess(), dtype=torch.float64, device=torch.device("cpu"))
    score = mixture.score(x, t)
    same, half = gradient_quality(true, true, score), gradient_quality(true / 2, true, score)
    assert (same.mse, same.cosine, same.best_scale, same.score_cosine) == pytest.approx((0.0, 1.0, 1.0, 1.0))
    assert half.cosine == pytest.approx(1.0)
    assert half.best_scale == pytest.approx(2.0)
    assert half.mse == pytest.approx(float((true / 2).square().mean()))
    assert half.scaled_mse == pytest.approx(0.0, abs=1e-20)
    # The conditional score of the true gradient is that of the class.
    wanted = -mixture.conditional_noise(x, t, labels) / VPProcess().sigma(t.long(), torch.float64)[:, None]
    torch.testing.assert_close(score + true, wanted)


def test_purification_brings_far_points_back_to_the_data(exact: Testbed) -> None:
    x, _ = _rows(exact, 300)
    classify, process = exact.classifier("exact"), exact.process
    away = x + torch.tensor([0.6, -0.6])
    purified = purify(classify, away, process=process, fraction=0.25, num_steps=30, clip=None)
    energy = [-likeness(classify, rows).log_density.mean() for rows in (x, away, purified)]
    assert float(energy[1] - energy[2]) > 0.8 * float(energy[1] - energy[0])
    assert torch.equal(purify(classify, away, process=process, rounds=0), away)
    twice = purify(classify, away, process=process, rounds=2, clip=None)
    assert twice.shape == x.shape
    for wrong in ({"fraction": 0.0}, {"fraction": 1.0}, {"num_steps": 0}, {"rounds": -1}):
        with pytest.raises(GuideGymError, match="must be"):
            purify(classify, x, process=process, **wrong)
