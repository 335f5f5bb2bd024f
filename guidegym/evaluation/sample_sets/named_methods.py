"""The methods of an evaluation: guidance files, and two baselines without a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guidegym.diffusion import Process, Sampler
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.method import Method
from guidegym.guidance import ClassifierFree, ConditionalDenoiser, Constant, Guidance, Table

UNGUIDED = "unguided"
CLASSIFIER_FREE = "classifier-free"


def _classifier_free(text: str) -> Guidance:
    """Parse ``classifier-free`` or ``classifier-free:WEIGHT``."""
    _, colon, weight = text.partition(":")
    try:
        value = float(weight) if colon else 1.0
    except ValueError as error:
        raise GuideGymError(f"`--guidance` {CLASSIFIER_FREE}:WEIGHT must be a number, got {weight!r}") from error
    return Guidance(ClassifierFree(), Constant(value), base_model=ConditionalDenoiser())


def methods(given: Sequence[str], sampler: Sampler) -> list[Method]:
    """Return one method per text.

    Args:
        given: Paths of guidance files, ``unguided``, and ``classifier-free`` or ``classifier-free:WEIGHT`` (default
            weight 1).
        sampler: The diffusion sampler of all.

    Raises:
        GuideGymError: If a method is given twice.
        FileFormatError: If a file is not a guidance file.
    """
    found: dict[str, Guidance] = {}
    for text in given:
        if text == UNGUIDED:
            name, guidance = text, Guidance()
        elif text.partition(":")[0] == CLASSIFIER_FREE:
            name, guidance = text, _classifier_free(text)
        else:
            name, guidance = Path(text).stem, Guidance.load(text)
        # Runs give their results the same name: the folder tells them apart.
        if name in found and name != text:
            name = f"{Path(text).resolve().parent.name}/{name}"
        if name in found:
            raise GuideGymError(f"`--guidance` has '{name}' twice")
        found[name] = guidance
    return [Method(name, guidance, sampler) for name, guidance in found.items()]


def scaled(method: Method, factor: float, process: Process) -> Method:
    """Return a method with its weight scaled by a factor at each of its sampler's steps.

    Raises:
        GuideGymError: If a policy decides the weight.
    """
    guidance, sampler = method.guidance, method.sampler
    weights = factor * guidance.weights(sampler, process)
    timesteps = process.position(sampler.timesteps(process)[:-1])
    table = Table(tuple(timesteps.tolist()), tuple(weights.tolist()))
    return replace(method, name=f"{method.name} x {factor:g}", guidance=replace(guidance, weight=table))
