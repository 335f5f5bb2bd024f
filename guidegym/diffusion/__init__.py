"""Noise processes, samplers and per-trajectory noise: pure tensor mathematics, no network."""

from guidegym.diffusion.noise import INITIAL, REVERSE, trajectory_noise
from guidegym.diffusion.process import Process, VPProcess, rows_like
from guidegym.diffusion.samplers import DDIM, DDPM, Reverse, Sampler, guided_noise

__all__ = [
    "DDIM",
    "DDPM",
    "INITIAL",
    "REVERSE",
    "Process",
    "Reverse",
    "Sampler",
    "VPProcess",
    "guided_noise",
    "rows_like",
    "trajectory_noise",
]
