"""A scalar added to all logits gives a classifier a density, and leaves the probabilities of classes as they are."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from guidegym import VEProcess, VPProcess
from guidegym.diffusion import Process
from guidegym.metrics.score_errors import own_noise
from guidegym.networks import TimeDependentClassifier


def _network(**options: object) -> TimeDependentClassifier:
    torch.manual_seed(0)
    network = TimeDependentClassifier(channels=(8, 16), embedding_dim=16, **options).eval()  # type: ignore[arg-type]
    return network.requires_grad_(False)


def _rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 1, 8, 8, generator=generator), torch.tensor([1.0, 100.0, 300.0, 500.0, 800.0, 999.0])


def test_the_probabilities_of_classes_are_those_without_it() -> None:
    network = _network(process="cosine", energy=True)
    assert network.energy is not None
    nn.init.normal_(network.energy.out.weight)
    without = copy.deepcopy(network)
    without.energy = None
    x, t = _rows()
    torch.testing.assert_close(network(x, t).softmax(dim=1), without(x, t).softmax(dim=1), rtol=1e-3, atol=1e-5)
    assert float((network(x, t).logsumexp(dim=1) - without(x, t).logsumexp(dim=1)).abs().min()) > 1


@pytest.mark.parametrize(("process", "name"), [(VPProcess("cosine"), "cosine"), (VEProcess(), "variance-exploding")])
def test_it_begins_as_the_density_of_noise_alone(process: Process, name: str) -> None:
    # The score of N(0, a^2 + sigma^2) is -x / (a^2 + sigma^2): the noise it means is sigma x / (a^2 + sigma^2).
    network = _network(process=name, energy=True)
    nn.init.zeros_(network.head.weight)
    x, t = _rows()
    sigma, signal = process.sigma(t.long()), process.alpha_bar(t.long())
    wanted = (sigma / (signal + sigma.square()))[:, None, None, None] * x
    torch.testing.assert_close(own_noise(network, x, t, process), wanted, rtol=1e-4, atol=1e-5)


def test_its_gradient_is_that_of_differences() -> None:
    network = _network(process="cosine", energy=True).double()
    assert network.energy is not None
    nn.init.normal_(network.energy.out.weight, std=0.1)
    x, t = (rows[2:3].double() for rows in _rows())
    found = own_noise(network, x, t.float(), VPProcess("cosine")) / -VPProcess("cosine").sigma(t.long()).double()
    for row, column in itertools.product((0, 3), (2, 7)):
        step = torch.zeros_like(x)
        step[0, 0, row, column] = 1e-5
        higher, lower = (network(x + sign * step, t.float()).logsumexp(dim=1) for sign in (1, -1))
        assert float((higher - lower) / 2e-5) == pytest.approx(float(found[0, 0, row, column]), rel=1e-4, abs=1e-6)


def test_a_network_without_options_has_the_settings_and_weights_that_it_always_had() -> None:
    network = _network()
    assert network.config == {"num_classes": 10, "image_channels": 1, "channels": [8, 16], "embedding_dim": 16}
    assert "low.1.norm_out.weight" in network.state_dict()
