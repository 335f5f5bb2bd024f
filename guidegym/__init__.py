"""guidegym: the guidance of diffusion models as a tunable policy."""

from guidegym._checkout import serve_top_level_packages
from guidegym.diffusion import DDIM, DDPM, VPProcess
from guidegym.engine import Cost, Engine, State
from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.guidance import ClassEnergy, Constant, Guidance, Likelihood, Linear, Power, Sigmoid
from guidegym.sampling import Samples, row_seeds, sample
from guidegym.testbeds import References, Testbed, load_testbed

serve_top_level_packages()

__version__ = "0.1.0"

__all__ = [
    "DDIM",
    "DDPM",
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
    "Power",
    "References",
    "Samples",
    "Sigmoid",
    "State",
    "Testbed",
    "VPProcess",
    "load_testbed",
    "row_seeds",
    "sample",
]
