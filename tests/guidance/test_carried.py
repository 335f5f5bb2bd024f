"""Schedules carried between processes, and the note of what a guidance was found for."""

import json
from pathlib import Path

import pytest
import torch

import guidegym as gg
from guidegym.diffusion import Process, noise_ratio
from guidegym.guidance import FoundFor, Schedule

CURVES = [gg.Sigmoid(2.0, 0.1, 400.0, 0.02), gg.Linear(0.0, 3.0), gg.Power(4.0, 1.5), gg.Knots((0.0, 3.0, 1.0))]
PROCESSES: list[Process] = [
    gg.VPProcess(),
    gg.VPProcess("cosine"),
    gg.VEProcess(),
    gg.EDMProcess(),
    gg.FlowProcess(3.0),
    gg.TableProcess((0.9, 0.5, 0.0)),
]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_schedule_carried_to_its_own_process_is_the_same(curve: Schedule, process: Process) -> None:
    t = process.grid()
    assert torch.allclose(gg.Carried(curve, process)(t, process), curve(t, process), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("found", PROCESSES[:5])
@pytest.mark.parametrize("process", PROCESSES[:5])
def test_equal_noise_levels_get_equal_weights(found: Process, process: Process) -> None:
    # A weight that is a function of the level alone is carried without change, as far as the grids reach.
    level = gg.Power(1.0, 1.0)
    t = process.grid()
    ends = noise_ratio(found, found.grid()[[0, -2]])
    covered = (noise_ratio(process, t) >= ends[0]) & (noise_ratio(process, t) <= ends[1])
    wanted, carried = level(t, process), gg.Carried(level, found)(t, process)
    assert float((wanted - carried)[covered].abs().max()) < 3e-3  # whole timesteps: half a step of VE
    assert bool((carried.diff() >= -1e-12).all())  # beyond the grid it stays at the ends


def test_a_guidance_says_what_it_was_found_for(tmp_path: Path) -> None:
    model = gg.load_testbed("gaussians")
    guidance = gg.Guidance(gg.Likelihood("bayes"), gg.Linear(0.0, 3.0))
    noted = guidance.found_on(model)
    assert noted == guidance and guidance.found_for is None
    noted.save(tmp_path / "g.json")
    assert json.loads((tmp_path / "g.json").read_text())["found_for"]["process"]["kind"] == "vp"
    loaded = gg.Guidance.load(tmp_path / "g.json")
    assert loaded.found_for == FoundFor(model.name, model.process)
    flow = loaded.carried_to(gg.FlowProcess())
    assert flow.weight == gg.Carried(gg.Linear(0.0, 3.0), model.process)
    assert flow.found_for == FoundFor(model.name, gg.FlowProcess())
    assert loaded.carried_to(model.process) is loaded
    flow.save(tmp_path / "flow.json")
    assert gg.Guidance.load(tmp_path / "flow.json") == flow
    # Once it follows the noise level, it does so everywhere.
    assert flow.carried_to(gg.EDMProcess()).weight == flow.weight
    constant = gg.Guidance(gg.Likelihood("bayes"), gg.Constant(2.0)).found_on(model)
    assert constant.carried_to(gg.EDMProcess()).weight == gg.Constant(2.0)


def test_flows_have_the_same_times_whatever_their_shift() -> None:
    guidance = gg.Guidance(gg.ClassifierFree(), gg.Linear(0, 3), found_for=FoundFor("mine", gg.FlowProcess(3.0)))
    assert guidance.carried_to(gg.FlowProcess(1.0)) is guidance


def test_what_cannot_be_carried_is_one_line() -> None:
    with pytest.raises(ValueError, match="does not say which process it was found for"):
        gg.Guidance(gg.ClassifierFree(), gg.Constant(1.0)).carried_to(gg.FlowProcess())
    noted = gg.Guidance(found_for=FoundFor("mine")).to_json()
    assert json.loads(noted)["found_for"] == {"model": "mine"}
    for content, said in (
        ({"model": 1}, "`model` must be the name of a model, got 1"),
        ([], "must be an object with a `model`"),
        ({"model": "m", "process": {"kind": "none"}}, "none"),
        ({"model": "m", "process": {"kind": "flow", "shift": -1}}, "`shift` must be > 0"),
        ({"model": "m", "time": 1}, "does not allow 'time'"),
    ):
        text = json.dumps({**json.loads(gg.Guidance().to_json()), "found_for": content})
        with pytest.raises(gg.FileFormatError, match=said):
            gg.Guidance.from_json(text)
