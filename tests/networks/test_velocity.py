"""A network whose layers predict the velocity returns the noise that it means."""

import pytest
import torch

from guidegym import VPProcess
from guidegym.networks import UNet
from guidegym.training.denoising import LEAST_SIGNAL, velocity_error
from guidegym.training.loss import noised

COSINE = VPProcess("cosine")


def test_untrained_layers_take_all_of_the_noisy_image_for_noise_at_its_share() -> None:
    network = UNet(channels=(8, 16), velocity="cosine").eval()
    assert network.head.bias is not None
    torch.nn.init.zeros_(network.head.bias)  # with weights that begin at zero: v = 0
    x, t = torch.randn(5, 1, 8, 8), torch.tensor([0, 10, 500, 990, 999])
    with torch.no_grad():
        eps = network(x, t.float())
    torch.testing.assert_close(eps, COSINE.sigma(t)[:, None, None, None] * x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("velocity", [0.0, 1.5])
def test_noise_velocity_and_clean_image_are_one_prediction(velocity: float) -> None:
    network = UNet(channels=(8, 16), velocity="cosine").double().eval()
    assert network.head.bias is not None
    torch.nn.init.constant_(network.head.bias, velocity)  # layers that say the same velocity everywhere
    x, t = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.tensor([3, 250, 500, 900])
    with torch.no_grad():
        eps = network(x, t.double())
    alpha = COSINE.alpha_bar(t, torch.float64).sqrt()[:, None, None, None]
    sigma = COSINE.sigma(t, torch.float64)[:, None, None, None]
    x_0 = (x - sigma * eps) / alpha
    torch.testing.assert_close(alpha * eps - sigma * x_0, torch.full_like(x, velocity), rtol=1e-4, atol=1e-4)


def test_between_two_timesteps_the_noise_level_lies_between_theirs() -> None:
    network = UNet(channels=(8, 16), velocity="cosine").eval()
    x = torch.ones(3, 1, 8, 8)
    with torch.no_grad():
        low, middle, high = network(x, torch.tensor([400.0, 400.5, 401.0]))[:, 0, 0, 0]
    assert low < middle < high


def test_the_velocity_s_error_is_that_of_the_velocities_themselves() -> None:
    rows = noised(COSINE, torch.randn(64, 1, 4, 4), torch.Generator().manual_seed(0))
    alpha = COSINE.alpha_bar(rows.t).sqrt()[:, None, None, None]
    eps = rows.noise + 0.1 * torch.randn(64, 1, 4, 4)
    v = [alpha * one - rows.sigma * (rows.x_t - rows.sigma * one) / alpha for one in (rows.noise, eps)]
    visible = (alpha.square() > LEAST_SIGNAL).expand_as(eps)
    whole = velocity_error(COSINE, eps, rows)
    direct = (v[0] - v[1]).square().where(visible, (eps - rows.noise).square() / LEAST_SIGNAL).mean()
    torch.testing.assert_close(whole, direct, rtol=1e-3, atol=1e-5)
