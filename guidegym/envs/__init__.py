"""Gymnasium environments over the engine, and the bridge to Stable-Baselines3."""

from guidegym.envs.checker import check_vector_env
from guidegym.envs.single import GuidanceEnv
from guidegym.envs.task import Rollout, Task, make_task
from guidegym.envs.vector import GuidanceVectorEnv

__all__ = ["GuidanceEnv", "GuidanceVectorEnv", "Rollout", "Task", "check_vector_env", "make_task"]
