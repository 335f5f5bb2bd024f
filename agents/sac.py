"""Soft actor-critic, by Stable-Baselines3 over the native vector environment: off-policy, for expensive networks."""

from stable_baselines3 import SAC

from guidegym.learning.stable_baselines import sb3_agent
from guidegym.learning.tuned import sac

learner = sb3_agent(SAC, "MlpPolicy", sac)
