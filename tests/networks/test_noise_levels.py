"""Networks that know their noise process: shares of signal and noise, and inputs of unit variance."""

import pytest
import torch

from guidegym import GuideGymError, VEProcess, VPProcess
from guidegym.diffusion import Process, noise_share
from guidegym.networks import TimeDependentClassifier, UNet
from guidegym.networks.noise_levels import PROCESSES, process_name, signal_and_noise, to_unit_variance


@pytest.mark.parametrize("name", PROCESSES)
def test_shares_are_those_of_the_process_and_lie_between_those_of_neighbours_in_between(name: str) -> None:
    t = torch.arange(1000)
    signal, noise = signal_and_noise(name, t.float())
    share = noise_share(PROCESSES[name], t)
    torch.testing.assert_close(noise.double().square(), share, rtol=2e-5, atol=1e-7)
    torch.testing.assert_close(signal.double().square() + noise.double().square(), torch.ones(1000).double())
    between = signal_and_noise(name, t[:-1] + 0.5)[1]
    assert bool((between > noise[:-1]).all())
    assert bool((between < noise[1:]).all())


def test_only_rows_of_a_process_that_explodes_are_scaled() -> None:
    x, t = torch.randn(3, 1, 4, 4), torch.tensor([0.0, 400.0, 999.0])
    assert to_unit_variance("cosine", x, t) is x
    sigma = VEProcess().sigma(t.long())[:, None, None, None]
    torch.testing.assert_close(
        to_unit_variance("variance-exploding", x, t), x / (1 + sigma.square()).sqrt(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("process", [VPProcess("linear"), VPProcess("cosine"), VEProcess()])
def test_a_process_is_known_by_its_name(process: Process) -> None:
    assert PROCESSES[process_name(process)] == process


def test_unknown_processes_and_names_are_refused_in_a_line() -> None:
    with pytest.raises(
        GuideGymError, match=r"networks are built for one of .*VEProcess.*, got VEProcess\(sigma_min=0.1"
    ):
        process_name(VEProcess(sigma_min=0.1))
    with pytest.raises(
        GuideGymError, match=r"`velocity` must be one of linear, cosine, variance-exploding, or empty, got 'ddpm'"
    ):
        UNet(velocity="ddpm")
    with pytest.raises(GuideGymError, match=r"`process` must be one of .*, got 've'"):
        TimeDependentClassifier(process="ve")
    with pytest.raises(GuideGymError, match="`energy` needs the name of a `process`, got none"):
        TimeDependentClassifier(energy=True)
