"""Every sampler by name."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from guidegym.diffusion.annealed_langevin import AnnealedLangevin
from guidegym.diffusion.ddim import DDIM
from guidegym.diffusion.ddpm import DDPM
from guidegym.diffusion.predictor_corrector import PredictorCorrector
from guidegym.diffusion.probability_flow import ProbabilityFlow
from guidegym.diffusion.sampler import Sampler
from guidegym.errors import GuideGymError
from guidegym.settings import check_settings

SAMPLERS: dict[str, type[DDIM | DDPM | PredictorCorrector | ProbabilityFlow | AnnealedLangevin]] = {
    "ddim": DDIM,
    "ddpm": DDPM,
    "predictor_corrector": PredictorCorrector,
    "probability_flow": ProbabilityFlow,
    "annealed_langevin": AnnealedLangevin,
}
"""Every sampler by the name it has in commands and environments."""


def sampler_name(sampler: Sampler) -> str:
    """Return the name of a sampler's kind, or its class' name where it has none."""
    return next((name for name, kind in SAMPLERS.items() if type(sampler) is kind), type(sampler).__name__)


def sampler_flags(sampler: Sampler) -> str:
    """Return the flags with which ``guidegym.sample`` makes the sampler."""
    flags = [] if isinstance(sampler, DDIM) else [f"--sampler {sampler_name(sampler)}"]
    flags.append(f"--steps {sampler.num_steps}")
    settings = {field.name: getattr(sampler, field.name) for field in fields(sampler)}  # type: ignore[arg-type]
    del settings["num_steps"]
    if isinstance(sampler, DDIM):
        eta = settings.pop("eta")
        flags.append(f"--eta {eta:g}" if float(f"{eta:g}") == eta else f"--eta {eta!r}")  # short where it says the same
    defaults = type(sampler)()
    pairs = [f"{name}={value}" for name, value in settings.items() if value != getattr(defaults, name)]
    return " ".join([*flags, *(["--sampler-kwargs", *pairs] if pairs else [])])


def with_steps(sampler: Sampler, num_steps: int) -> Sampler:
    """Return the same sampler with another number of steps."""
    changed: Sampler = replace(sampler, num_steps=num_steps)  # type: ignore[type-var]
    return changed


def make_sampler(given: str | Mapping[str, Any], num_steps: int) -> Sampler:
    """Return the sampler of that name, or ``{"kind": name, **arguments}``, with ``num_steps`` steps.

    Raises:
        GuideGymError: If there is none of that name, or it does not take the arguments.
    """
    arguments = {"kind": given} if isinstance(given, str) else dict(given)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in SAMPLERS:
        raise GuideGymError(f"must be of kind {', '.join(SAMPLERS)}, got {kind!r}", argument="sampler")
    check_settings(SAMPLERS[kind], arguments, what=f"sampler '{kind}'", but=("num_steps",))
    return SAMPLERS[kind](num_steps, **arguments)
