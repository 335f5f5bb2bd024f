"""guidegym: the guidance of diffusion models as a tunable policy."""

from gymnasium.envs.registration import register

from guidegym._checkout import serve_top_level_packages
from guidegym.diffusion import DDIM, DDPM, VPProcess
from guidegym.engine import Engine
from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.guidance import (
    ActionScale,
    ClassEnergy,
    Constant,
    Guidance,
    Likelihood,
    Linear,
    Policy,
    Power,
    Sigmoid,
    Table,
)
from guidegym.sampling import Samples, row_seeds, sample
from guidegym.state import Cost, State
from guidegym.testbeds import References, Testbed, load_testbed

serve_top_level_packages()

for _name, _arguments in (
    ("GuidanceWeight", {}),
    ("ProgressiveGuidance", {"max_rate": 25.0, "share": 0.0}),
):
    register(
        f"guidegym/{_name}-v0",
        entry_point="guidegym.envs:GuidanceEnv",
        vector_entry_point="guidegym.envs:GuidanceVectorEnv",
        kwargs=_arguments,
    )

__version__ = "0.1.0"

__all__ = [
    "DDIM",
    "DDPM",
    "ActionScale",
    "ClassEnergy",
    "Constant",
    "Cost",
    "DataNotFoundError",
    "Engine",
    "FileFormatError",
    "Guidance",
    "GuideGymError",
    "Likelihood",
    "Linear",
    "Policy",
    "Power",
    "References",
    "Samples",
    "Sigmoid",
    "State",
    "Table",
    "Testbed",
    "VPProcess",
    "load_testbed",
    "row_seeds",
    "sample",
]
