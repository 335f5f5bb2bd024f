import torch
from torch import nn

from guidegym.metrics.attacks import pgd_l2


def _linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 3)


def test_the_attack_stays_inside_the_ball_and_the_data_range() -> None:
    network, x = _linear(), torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for generator in (None, torch.Generator().manual_seed(2)):
        attacked = pgd_l2(network, x, torch.tensor([0, 1, 2, 0, 1]), radius=0.5, num_steps=7, generator=generator)
        assert float((attacked - x).norm(dim=1).max()) <= 0.5 + 1e-5
        assert float(attacked.abs().max()) <= 1.0


def test_on_a_linear_two_class_model_the_attack_is_the_closed_form() -> None:
    network = nn.Linear(6, 2)
    with torch.no_grad():
        direction = network.weight[1] - network.weight[0]
    x = torch.zeros(1, 6)
    attacked = pgd_l2(network, x, torch.tensor([0]), radius=0.3, num_steps=20)
    torch.testing.assert_close(attacked[0], 0.3 * direction / direction.norm(), rtol=1e-4, atol=1e-5)


def test_the_attack_leaves_no_gradient_and_works_inside_no_grad() -> None:
    network = _linear()
    with torch.no_grad():
        attacked = pgd_l2(network, torch.zeros(2, 6), torch.tensor([0, 1]), radius=0.5, num_steps=3)
    assert not attacked.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
