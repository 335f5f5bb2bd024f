"""Models of guided-diffusion: sampling is that of its published loops, case by case."""

import dataclasses
import json
from enum import Enum, auto
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from guidegym import DDIM, Constant, Guidance, GuideGymError, Likelihood, Model, VPProcess
from guidegym.core.engine import Engine
from guidegym.diffusion import Sampler

FOLDER = Path(__file__).parent / "guided_diffusion"
NUMBERS = load_file(FOLDER / "numbers.safetensors")
RECORD = json.loads((FOLDER / "cases.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in RECORD["cases"]}


class ModelMeanType(Enum):
    """The published names."""

    EPSILON = auto()
    START_X = auto()
    PREVIOUS_X = auto()


class ModelVarType(Enum):
    """The published names."""

    FIXED_SMALL = auto()
    FIXED_LARGE = auto()
    LEARNED_RANGE = auto()


def _diffusion(case: dict[str, Any], **further: Any) -> Any:
    """Return an object with the attributes of the published class."""
    process = VPProcess(case["schedule"])
    return SimpleNamespace(
        alphas_cumprod=process.alpha_bar(process.grid(), torch.float64).numpy(),
        num_timesteps=1000,
        model_mean_type=ModelMeanType.EPSILON,
        model_var_type=ModelVarType[case["variance"].upper()],
        rescale_timesteps=False,
        **further,
    )


def _network(case: dict[str, Any]) -> Any:
    def predict(x: Tensor, t: Tensor) -> Tensor:
        time = NUMBERS["time"].reshape(1, -1, 1, 1) * t.double().reshape(-1, 1, 1, 1) / 1000
        h = functional.conv2d(x, NUMBERS["kernel"], NUMBERS["bias"], padding=1) + time
        noise = 0.7 * x + h[:, :2]
        return torch.cat([noise, h[:, 2:].tanh()], dim=1) if case["variance"] == "learned_range" else noise

    return predict


def _classifier(x: Tensor, t: Tensor) -> Tensor:
    scores = 3 * x.flatten(1).tanh() @ NUMBERS["class_kernel"].T
    return scores + NUMBERS["class_time"] * t.double()[:, None] / 1000


def _model(case: dict[str, Any]) -> Model:

    model = Model.from_guided_diffusion(
        _network(case),
        _diffusion(case),
        event_shape=(2, 6, 6),
        class_names=("a", "b", "c", "d"),
        classifiers={"noisy": _classifier},
    )
    return dataclasses.replace(model, dtype=torch.float64, clip=1.0 if case["clip"] else None)


def _sampler(case: dict[str, Any], model: Model) -> Sampler:
    if case["loop"] == "p_sample":
        return model.sampler(RECORD["steps"])
    return DDIM(RECORD["steps"], eta=case["eta"], spacing="leading", clipping="unguided")


def test_all_published_cases_are_here() -> None:
    assert len(CASES) == 60
    assert {case["variance"] for case in CASES.values()} == {"learned_range", "fixed_small", "fixed_large"}


@pytest.mark.parametrize("name", CASES)
def test_samples_are_those_of_the_published_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    model = _model(case)
    guidance = Guidance(Likelihood("noisy"), Constant(case["weight"])) if case["weight"] else Guidance()
    engine = Engine.under(model, _sampler(case, model), guidance)
    assert engine.timesteps[:-1].tolist() == case["timesteps"]
    steps = iter(NUMBERS["noise_steps"])
    monkeypatch.setattr("guidegym.core.engine.trajectory_noise", lambda *_, **__: next(steps))
    state = engine.start(NUMBERS["labels"], torch.arange(3))
    state = dataclasses.replace(state, x=NUMBERS["noise_start"])
    steps = iter(NUMBERS["noise_steps"])
    weight = torch.full((3,), case["weight"], dtype=torch.float64) if case["weight"] else None
    for _ in range(RECORD["steps"]):
        state = engine.step(state, weight)
    theirs = NUMBERS[f"out/{name}"]
    assert float((state.x - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def test_a_respaced_diffusion_asks_its_networks_at_the_original_timesteps() -> None:
    case = next(iter(CASES.values()))
    visited, asked = [0, 250, 999], []

    def network(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        asked.append((float(t[0]), y.tolist()))
        return torch.cat([x, x], dim=1)

    whole = _diffusion(case)
    spaced = _diffusion(case, timestep_map=visited, original_num_steps=1000)
    spaced.alphas_cumprod, spaced.num_timesteps = whole.alphas_cumprod[visited], 3
    model = Model.from_guided_diffusion(
        network, spaced, event_shape=(2, 6, 6), class_names=("a", "b"), conditional=True
    )
    engine = Engine(model, model.sampler(3))
    state = engine.start(torch.tensor([1, 0]), torch.arange(2))
    for _ in range(3):
        state = engine.step(state, None)
    assert asked == [(999.0, [1, 0]), (250.0, [1, 0]), (0.0, [1, 0])]


def test_wrong_input_gets_one_line() -> None:
    case = next(iter(CASES.values()))
    odd = _diffusion(case)
    odd.model_mean_type = ModelMeanType.PREVIOUS_X
    with pytest.raises(
        GuideGymError, match="`diffusion` must have a `model_mean_type` of EPSILON, START_X, got PREVIOUS_X"
    ):
        Model.from_guided_diffusion(_network(case), odd, event_shape=(2, 6, 6))
    narrow = Model.from_guided_diffusion(lambda x, t: x, _diffusion(case), event_shape=(2, 6, 6))
    with pytest.raises(GuideGymError, match=r"must return a prediction of shape \(1, 4, 6, 6\), with a variance"):
        Engine(narrow, narrow.sampler(5)).predict(
            Engine(narrow, narrow.sampler(5)).start(torch.tensor([0]), torch.tensor([0])), guide=False
        )
