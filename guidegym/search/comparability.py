"""Conditions for trials to be comparable, and a check that a study is consistent."""

import hashlib
import warnings
from typing import Any

import optuna
import torch

from guidegym.core.engine import Engine
from guidegym.diffusion import Process, Sampler
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.measuring.set_objectives import METRIC_OF
from guidegym.guidance import Guidance
from guidegym.models import Model
from guidegym.objectives import Finished
from guidegym.search.study import Study
from guidegym.testbeds import Testbed


def comparability(study: Study, testbed: Model, *, seed: int) -> dict[str, Any]:
    """Return the settings that two trials must share for their scores to be comparable, JSON-serialisable."""
    baselines = "".join(
        baseline.name + baseline.guidance.to_json() + repr(baseline.sampler) for baseline in study.baselines
    )
    return {
        "study": study.name,
        "baselines": hashlib.sha256(baselines.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "testbed": testbed.name,
        "networks": testbed.identity,
        "judge": testbed.references.extractor if isinstance(testbed, Testbed) else "",
        "sampler": repr(study.sampler),
        "objectives": ",".join(one.name for one in study.scored_by),
        "samples_per_class": study.samples_per_class,
        "seed": seed,
    }


def check_study(study: Study, testbed: Model) -> None:
    """Check, before anything is written, that a study fits its testbed and that its baselines are consistent.

    Raises:
        GuideGymError: If the testbed lacks a classifier, a sampler has too many steps, or a baseline's ``params`` do not
            lie outside the space or do not describe its ``guidance``.
    """
    for name in (METRIC_OF[one.name] for one in study.scored_by if one.name in METRIC_OF):
        fewest, least = min(study.samples_per_class, study.confirm_per_class), METRICS[name].least
        if fewest < least:
            raise GuideGymError(
                f"have '{name}', which needs at least {least} samples per class, got {fewest}",
                argument="objectives",
            )
    if not isinstance(testbed, Testbed):
        _try_objectives(study, testbed)
    for baseline in study.baselines:
        sampler = baseline.sampler or study.sampler
        Engine.under(testbed, sampler, baseline.guidance)
        if baseline.params is None:
            continue
        if baseline.sampler not in (None, study.sampler):
            raise GuideGymError(
                f"baseline '{baseline.name}' has its own `sampler` and therefore cannot have `params` in the space"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Optuna only warns of a value outside its range
                described = study.guidance(optuna.trial.FixedTrial(dict(baseline.params)))
        except (ValueError, UserWarning) as error:
            raise GuideGymError(f"`params` of baseline '{baseline.name}' are not in the space: {error}") from error
        if not _same(described, baseline.guidance, sampler, testbed.process):
            raise GuideGymError(
                f"`params` of baseline '{baseline.name}' describe a guidance that differs from its `guidance`"
            )


def _try_objectives(study: Study, model: Model) -> None:
    """Try the objectives on blank samples of a model without judge, before anything is sampled.

    Raises:
        GuideGymError: If one of them needs a judge or references.
    """
    name, blank = "", Finished.blank(model)
    try:
        for one in study.scored_by:
            name = one.name
            one(blank)
    except GuideGymError as error:
        said = f"have '{name}', which this model cannot be scored by: {error}"
        raise GuideGymError(said, argument="objectives") from error


def _same(one: Guidance, other: Guidance, sampler: Sampler, process: Process) -> bool:
    """Return whether two guidances are equal at every step."""
    if (one.guide, one.base_model, one.target, one.policy) != (
        other.guide,
        other.base_model,
        other.target,
        other.policy,
    ):
        return False
    rates = [guidance.rates(sampler, process) for guidance in (one, other)]
    curves = [
        torch.stack([guidance.weights(sampler, process), torch.zeros(sampler.num_steps) if rate is None else rate])
        for guidance, rate in zip((one, other), rates, strict=True)
    ]
    return torch.allclose(curves[0], curves[1])
