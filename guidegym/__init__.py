"""guidegym: the guidance of diffusion models as a tunable policy.

Names are imported on first access: importing torch takes seconds, and ``--help`` does not need it.
"""

import importlib.util
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register as register_environment

from guidegym._checkout import serve_top_level_packages

if TYPE_CHECKING:
    from guidegym.core.engine import Engine
    from guidegym.core.sampling import Samples, row_seeds, sample
    from guidegym.core.state import State
    from guidegym.diffusion import (
        DDIM,
        DDPM,
        AnnealedLangevin,
        DiscreteTime,
        DPMSolverPP,
        EDMProcess,
        Euler,
        FlowProcess,
        Heun,
        PredictorCorrector,
        ProbabilityFlow,
        Process,
        TableProcess,
        VEProcess,
        VPProcess,
    )
    from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
    from guidegym.guidance import (
        Accumulated,
        ActionScale,
        AtClean,
        Carried,
        ClassEnergy,
        ClassifierFree,
        ClassifierScore,
        ConditionalDenoiser,
        Constant,
        Cosine,
        Cost,
        EnergyDivergence,
        EntropyScaled,
        Exponential,
        Guidance,
        Guide,
        Interval,
        JointEnergy,
        Knots,
        LabelSmoothing,
        Likelihood,
        Linear,
        LookAhead,
        Momentum,
        NoiseInterval,
        Normalised,
        OneHot,
        Policy,
        Power,
        Sigmoid,
        Similarity,
        Stages,
        Table,
        UnconditionalDenoiser,
        Uniform,
        rate_of_gamma,
    )
    from guidegym.models import Model, image_classifier, load_robust_classifier
    from guidegym.objectives import Finished, Objective
    from guidegym.registry import register
    from guidegym.search import Baseline, Study, objective
    from guidegym.testbeds import References, Testbed, load_model, load_testbed, references_from_folder

serve_top_level_packages()

for _name, _arguments in (
    ("GuidanceWeight", {}),
    ("ProgressiveGuidance", {"max_rate": 25.0, "target": "uniform"}),
):
    register_environment(
        f"guidegym/{_name}-v0",
        entry_point="guidegym.envs:GuidanceEnv",
        vector_entry_point="guidegym.envs:GuidanceVectorEnv",
        kwargs=_arguments,
    )

__version__ = "0.1.0"

__all__ = [
    "DDIM",
    "DDPM",
    "Accumulated",
    "ActionScale",
    "AnnealedLangevin",
    "AtClean",
    "Baseline",
    "Carried",
    "ClassEnergy",
    "ClassifierFree",
    "ClassifierScore",
    "ConditionalDenoiser",
    "Constant",
    "Cosine",
    "Cost",
    "DPMSolverPP",
    "DataNotFoundError",
    "DiscreteTime",
    "EDMProcess",
    "EnergyDivergence",
    "Engine",
    "EntropyScaled",
    "Euler",
    "Exponential",
    "FileFormatError",
    "Finished",
    "FlowProcess",
    "Guidance",
    "Guide",
    "GuideGymError",
    "Heun",
    "Interval",
    "JointEnergy",
    "Knots",
    "LabelSmoothing",
    "Likelihood",
    "Linear",
    "LookAhead",
    "Model",
    "Momentum",
    "NoiseInterval",
    "Normalised",
    "Objective",
    "OneHot",
    "Policy",
    "Power",
    "PredictorCorrector",
    "ProbabilityFlow",
    "Process",
    "References",
    "Samples",
    "Sigmoid",
    "Similarity",
    "Stages",
    "State",
    "Study",
    "Table",
    "TableProcess",
    "Testbed",
    "UnconditionalDenoiser",
    "Uniform",
    "VEProcess",
    "VPProcess",
    "image_classifier",
    "load_model",
    "load_robust_classifier",
    "load_testbed",
    "objective",
    "rate_of_gamma",
    "references_from_folder",
    "register",
    "row_seeds",
    "sample",
]

_HOMES = (
    "errors",
    "diffusion",
    "guidance",
    "models",
    "testbeds",
    "core.state",
    "core.engine",
    "core.sampling",
    "registry",
    "objectives",
    "search",
)
"""Modules that define the names, in the order of their layers."""

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """Return one of the package's names or modules on first access."""
        if name in __all__:
            homes = (importlib.import_module(f"{__name__}.{home}") for home in _HOMES)
            globals()[name] = value = next(vars(home)[name] for home in homes if name in vars(home))
            return value
        if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
