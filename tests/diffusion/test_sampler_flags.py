"""The flags that a replay prints make the sampler that was used."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidegym import DDIM
from guidegym.cli.flags import SamplerSettings
from guidegym.diffusion import Sampler, make_sampler, sampler_flags
from guidegym.registry import names


def _read(flags: str) -> Sampler:
    words = flags.split()
    rest = words[words.index("--sampler-kwargs") + 1 :] if "--sampler-kwargs" in words else []
    given = dict(zip(words[::2], words[1::2], strict=False))
    eta = given.get("--eta")
    return SamplerSettings(
        steps=int(given["--steps"]),
        sampler=given.get("--sampler"),
        eta=None if eta is None else float(eta),
        sampler_kwargs=tuple(rest),
    ).make()


@given(st.integers(1, 1000), st.floats(0, 1), st.sampled_from(["trailing", "leading"]))
@settings(max_examples=40)
def test_ddim_comes_back_to_the_last_digit(num_steps: int, eta: float, spacing: str) -> None:
    sampler = DDIM(num_steps, eta=eta, spacing=spacing)
    assert _read(sampler_flags(sampler)) == sampler


@pytest.mark.parametrize("name", names("sampler"))
def test_every_sampler_comes_back_with_settings_that_are_not_its_defaults(name: str) -> None:
    sampler = make_sampler(name, 12)
    for field in dataclasses.fields(sampler):  # type: ignore[arg-type]
        value = getattr(sampler, field.name)
        if type(value) is float:
            sampler = dataclasses.replace(sampler, **{field.name: value / 3 + 0.01})  # type: ignore[type-var]
    assert _read(sampler_flags(sampler)) == sampler


def test_a_round_eta_stays_short() -> None:
    assert sampler_flags(DDIM(15, eta=1.0)) == "--steps 15 --eta 1"
    assert sampler_flags(DDIM(15, eta=0.8)) == "--steps 15 --eta 0.8"
