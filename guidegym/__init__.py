"""guidegym: the guidance of diffusion models as a tunable policy."""

from gymnasium.envs.registration import register as register_environment

from guidegym._checkout import serve_top_level_packages
from guidegym.diffusion import DDIM, DDPM, AnnealedLangevin, PredictorCorrector, ProbabilityFlow, VEProcess, VPProcess
from guidegym.engine import Engine
from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.guidance import (
    Accumulated,
    ActionScale,
    AtClean,
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
from guidegym.objectives import Objective
from guidegym.registry import register
from guidegym.sampling import Samples, row_seeds, sample
from guidegym.search.plain import objective
from guidegym.search.study import Baseline, Study
from guidegym.state import State
from guidegym.testbeds import References, Testbed, load_testbed

serve_top_level_packages()

for _name, _arguments in (
    ("GuidanceWeight", {}),
    ("ProgressiveGuidance", {"max_rate": 25.0, "degree": "uniform"}),
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
    "ClassEnergy",
    "ClassifierFree",
    "ClassifierScore",
    "ConditionalDenoiser",
    "Constant",
    "Cosine",
    "Cost",
    "DataNotFoundError",
    "EnergyDivergence",
    "Engine",
    "EntropyScaled",
    "Exponential",
    "FileFormatError",
    "Guidance",
    "Guide",
    "GuideGymError",
    "Interval",
    "JointEnergy",
    "Knots",
    "LabelSmoothing",
    "Likelihood",
    "Linear",
    "LookAhead",
    "Momentum",
    "NoiseInterval",
    "Normalised",
    "Objective",
    "OneHot",
    "Policy",
    "Power",
    "PredictorCorrector",
    "ProbabilityFlow",
    "References",
    "Samples",
    "Sigmoid",
    "Similarity",
    "Stages",
    "State",
    "Study",
    "Table",
    "Testbed",
    "UnconditionalDenoiser",
    "Uniform",
    "VEProcess",
    "VPProcess",
    "load_testbed",
    "objective",
    "rate_of_gamma",
    "register",
    "row_seeds",
    "sample",
]
