"""Models of other libraries sample the same on a GPU as on the processor, and as the libraries' own loops on either."""

from collections.abc import Callable, Iterator

import own_model_families as families
import pytest
import torch
from own_model_families import Family, Setting
from torch import Tensor

import guidegym as gg
from guidegym.diffusion import REVERSE, trajectory_noise

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
CPU = torch.device("cpu")
MAKES: dict[str, Callable[[Setting], Family]] = {
    "diffusers": families.unconditional,
    "diffusers, classifier-free": families.class_conditional,
    "Stable Diffusion": families.stable_diffusion,
    "Stable Diffusion 3": families.stable_diffusion_3,
    "EDM": lambda setting: families.edm(setting, 0.0),
    "EDM with churn": lambda setting: families.edm(setting, 40.0),
    "guided-diffusion, DDIM": lambda setting: families.guided_diffusion(setting, "ddim_sample_loop"),
    "guided-diffusion, DDPM": lambda setting: families.guided_diffusion(setting, "p_sample_loop"),
}


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Convolutions on a GPU round their inputs to ten bits unless told not to."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def _made(name: str, device: torch.device) -> Family:
    return MAKES[name](Setting(rows=5, steps=5, width=8, device=device))


def _close(mine: Tensor, other: Tensor) -> None:
    assert float((mine.cpu() - other.cpu()).abs().max()) < 1e-3 * float(other.abs().max())


@pytest.mark.parametrize("name", MAKES)
def test_the_benchmark_compares_the_same_samples_and_calls(name: str) -> None:
    family = _made(name, CPU)
    _close(family.ours(), family.theirs(family.noise))
    family.bare()


@needs_gpu
@pytest.mark.parametrize("name", MAKES)
def test_samples_on_a_gpu_are_those_on_the_processor(name: str) -> None:
    family = _made(name, torch.device("cuda"))
    mine = family.ours()
    assert mine.device.type == "cuda"
    _close(mine, _made(name, CPU).ours())
    _close(mine, family.theirs(family.noise))


def _flow(device: torch.device) -> gg.Model:
    offsets = torch.linspace(-1, 1, 3, device=device)

    def velocity(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        assert x.device.type == t.device.type == label.device.type == device.type
        return x.tanh() - offsets[label.clamp_min(-1) % 3].reshape(-1, 1, 1, 1) * t.to(x).reshape(-1, 1, 1, 1)

    return gg.Model(
        process=gg.FlowProcess(3.0),
        conditionals={"conditional": velocity},
        prediction="velocity",
        event_shape=(1, 4, 4),
        class_names=("a", "b"),
        device=device,
    )


@needs_gpu
def test_a_flow_of_one_s_own_is_given_everything_on_its_device() -> None:
    guidance = gg.Guidance(gg.ClassifierFree(), gg.Linear(0.0, 2.0))
    here, there = (
        gg.sample(_flow(device), guidance, labels=[0, 1, 1], sampler=gg.Euler(6))
        for device in (CPU, torch.device("cuda"))
    )
    assert {one.device.type for one in (there.x, there.labels, there.seeds, there.failed, there.evaluations)} == {
        "cuda"
    }
    _close(there.x, here.x)
    assert there.cost == here.cost


@needs_gpu
def test_noise_is_the_same_on_both() -> None:
    seeds, steps = torch.tensor([0, 7, 2**40 + 1]), torch.tensor([3, 0, 8])
    here = trajectory_noise(seeds, steps, (3, 5, 5), stream=REVERSE, dtype=torch.float64)
    there = trajectory_noise(seeds.cuda(), steps.cuda(), (3, 5, 5), stream=REVERSE, dtype=torch.float64)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-12, atol=1e-12)
