import pytest
import torch
from diffusers import DDPMScheduler

from guidegym import GuideGymError, VPProcess


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_alpha_bar_equals_the_table_of_diffusers(ours: str, theirs: str) -> None:
    table = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs).alphas_cumprod
    got = VPProcess(ours).alpha_bar(torch.arange(1000))
    torch.testing.assert_close(got, table, rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_signal_and_noise_add_up_and_the_clean_end_is_clean(schedule: str) -> None:
    process = VPProcess(schedule)
    t = torch.arange(-1, 1000)
    total = process.alpha_bar(t, torch.float64) + process.sigma(t, torch.float64) ** 2
    torch.testing.assert_close(total, torch.ones(1001, dtype=torch.float64))
    assert float(process.alpha_bar(torch.tensor([-1]))) == 1.0
    assert bool((process.alpha_bar(t).diff() < 0).all())


def test_q_sample_and_kernel_score_agree() -> None:
    process, generator = VPProcess("cosine"), torch.Generator().manual_seed(0)
    x_0 = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    noise = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    t = torch.tensor([0, 10, 500, 990])
    x_t = process.q_sample(x_0, t, noise=noise)
    score = process.kernel_score(x_t, x_0, t)
    torch.testing.assert_close(score, -noise / process.sigma(t, torch.float64)[:, None], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arguments", [("wrong", 1000), ("linear", 0), ("linear", 20), ("cosine", 0)])
def test_bad_arguments_are_refused(arguments: tuple[str, int]) -> None:
    with pytest.raises(GuideGymError, match="must be"):
        VPProcess(*arguments)
