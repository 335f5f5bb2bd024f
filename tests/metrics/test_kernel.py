import itertools

import pytest
import torch
from torch_fidelity.metric_kid import kernel_mmd

from guidegym import GuideGymError
from guidegym.metrics import class_kernels, mixture_distance, reference_self_term

KERNEL = {
    "kid_kernel": "poly",
    "kid_kernel_poly_degree": 3,
    "kid_kernel_poly_gamma": None,
    "kid_kernel_poly_coef0": 1.0,
}


def _sets(n: int, m: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(3, n, 8, generator=generator, dtype=torch.float64) * 1.3 + 0.2
    return features, torch.randn(3, m, 8, generator=generator, dtype=torch.float64)


def test_distance_equals_the_class_mean_of_torch_fidelity() -> None:
    features, reference = _sets(40, 40)
    got = float(class_kernels(features, reference, reference_self_term(reference)).distance()[0])
    each = [kernel_mmd(a.numpy(), b.numpy(), **KERNEL) for a, b in zip(features, reference, strict=True)]
    assert got == pytest.approx(sum(each) / 3, rel=1e-10)


def test_distance_is_unbiased_at_four_samples_a_class() -> None:
    reference = torch.randn(1, 2000, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    term = reference_self_term(reference)
    values = torch.stack(
        [
            class_kernels(
                torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64),
                reference,
                term,
            ).distance()[0]
            for seed in range(2, 1500)
        ]
    )
    assert abs(float(values.mean())) < 4 * float(values.std()) / len(values) ** 0.5 + 0.01


def test_whole_number_weights_leave_out_pairs_of_copies() -> None:
    features, reference = _sets(5, 30)
    kernels = class_kernels(features, reference, reference_self_term(reference))
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64).expand(1, 3, 5)
    rows = [0, 0, 2, 3, 4]
    each = []
    for c in range(3):
        k = (features[c] @ features[c].T / 8 + 1) ** 3
        pairs = [float(k[rows[i], rows[j]]) for i in range(5) for j in range(5) if rows[i] != rows[j]]
        across = ((features[c][rows] @ reference[c].T / 8 + 1) ** 3).mean()
        each.append(sum(pairs) / len(pairs) - 2 * float(across) + float(kernels.reference[c]))
    assert float(kernels.distance(weights)[0]) == pytest.approx(sum(each) / 3, rel=1e-10)


@pytest.mark.parametrize("num", [2, 3, 4])
def test_the_mean_over_all_resamples_that_there_are_is_the_estimate(num: int) -> None:
    features, reference = _sets(num, 30)
    drawn = torch.tensor(list(itertools.product(range(num), repeat=num)))
    counts = torch.nn.functional.one_hot(drawn, num).sum(dim=1).double()  # every resample of a class that can be drawn
    weights = counts[:, None].expand(-1, 3, -1)
    kernels = class_kernels(features, reference, reference_self_term(reference))
    torch.testing.assert_close(kernels.distance(weights).mean(), kernels.distance()[0], rtol=1e-10, atol=1e-10)
    pairs = torch.cartesian_prod(*3 * [torch.arange(len(counts))])[:20_000] if num < 4 else None
    if pairs is not None:
        mixtures = mixture_distance(features, reference, counts[pairs])
        torch.testing.assert_close(mixtures.mean(), mixture_distance(features, reference)[0], rtol=1e-10, atol=1e-10)


def test_a_wrong_class_is_punished() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = torch.eye(3, dtype=torch.float64)[:, None, :] * 4
    reference = centres + torch.randn(3, 200, 3, generator=generator, dtype=torch.float64)
    right = centres + torch.randn(3, 20, 3, generator=generator, dtype=torch.float64)
    term = reference_self_term(reference)
    good = float(class_kernels(right, reference, term).distance()[0])
    swapped = float(class_kernels(right[[1, 0, 2]], reference, term).distance()[0])
    assert swapped > 10 * abs(good)


def test_one_sample_a_class_is_refused() -> None:
    features, reference = _sets(1, 10)
    with pytest.raises(GuideGymError, match="at least 2 rows per class, got 1"):
        class_kernels(features, reference, reference_self_term(reference))


def test_the_distance_of_mixtures_is_a_plain_sum_over_pairs_of_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
    real = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64) + 1

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 2 + 1) ** 3)

    def mean(one: torch.Tensor, other: torch.Tensor, *, same: bool) -> float:
        values = [kernel(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if not (same and i == j)]
        return sum(values) / len(values)

    wanted = sum(
        mean(samples[k], samples[other], same=k == other)
        - 2 * mean(samples[k], real[other], same=False)
        + mean(real[k], real[other], same=k == other)
        for k in range(3)
        for other in range(3)
    )
    assert float(mixture_distance(samples, real)) == pytest.approx(wanted / 9)
    order = torch.tensor([4, 2, 0, 1, 3])
    assert float(mixture_distance(samples[:, order], real)) == pytest.approx(wanted / 9)


def test_the_distance_of_mixtures_is_unbiased_for_even_sets() -> None:
    centres = torch.tensor([[-4.0, 0.0], [0.0, 4.0], [4.0, 0.0]], dtype=torch.float64)[:, None]

    def draw(seed: int, num: int) -> torch.Tensor:
        return centres + torch.randn(3, num, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    found = torch.stack([mixture_distance(draw(seed, 6), draw(1000 + seed, 6))[0] for seed in range(400)])
    assert abs(float(found.mean())) < 3 * float(found.std()) / 400**0.5
