"""Noise processes, samplers and per-trajectory noise: pure tensor mathematics without networks."""

from guidegym.diffusion.annealed_langevin import AnnealedLangevin
from guidegym.diffusion.ddim import DDIM
from guidegym.diffusion.ddpm import DDPM
from guidegym.diffusion.dpm_solver import DPMSolverPP
from guidegym.diffusion.edm import EDMProcess
from guidegym.diffusion.estimates import clean_estimate, guided_estimate, guided_noise
from guidegym.diffusion.euler import Euler
from guidegym.diffusion.flow import FlowProcess
from guidegym.diffusion.heun import Heun
from guidegym.diffusion.noise import INITIAL, REVERSE, trajectory_noise
from guidegym.diffusion.predicted import PREDICTIONS, Predicted, in_order, read_prediction
from guidegym.diffusion.predictor_corrector import PredictorCorrector
from guidegym.diffusion.probability_flow import ProbabilityFlow
from guidegym.diffusion.process import DiscreteTime, Process, VPProcess, noise_ratio, noise_share, noisy_rows, rows_like
from guidegym.diffusion.sampler import (
    Evaluate,
    Memory,
    Raised,
    Raising,
    Reverse,
    Sampler,
    Step,
    WithoutMemory,
    check_memory,
    check_start,
)
from guidegym.diffusion.samplers import make_sampler, sampler_flags, sampler_name, with_steps
from guidegym.diffusion.schedulers import Scheduled, process_of, rule_of
from guidegym.diffusion.table_process import TableProcess
from guidegym.diffusion.variance_exploding import VEProcess, vp_timesteps

__all__ = [
    "DDIM",
    "DDPM",
    "INITIAL",
    "PREDICTIONS",
    "REVERSE",
    "AnnealedLangevin",
    "DPMSolverPP",
    "DiscreteTime",
    "EDMProcess",
    "Euler",
    "Evaluate",
    "FlowProcess",
    "Heun",
    "Memory",
    "Predicted",
    "PredictorCorrector",
    "ProbabilityFlow",
    "Process",
    "Raised",
    "Raising",
    "Reverse",
    "Sampler",
    "Scheduled",
    "Step",
    "TableProcess",
    "VEProcess",
    "VPProcess",
    "WithoutMemory",
    "check_memory",
    "check_start",
    "clean_estimate",
    "guided_estimate",
    "guided_noise",
    "in_order",
    "make_sampler",
    "noise_ratio",
    "noise_share",
    "noisy_rows",
    "process_of",
    "read_prediction",
    "rows_like",
    "rule_of",
    "sampler_flags",
    "sampler_name",
    "trajectory_noise",
    "vp_timesteps",
    "with_steps",
]
