"""Proximal policy optimisation, by Stable-Baselines3 over the native vector environment."""

from stable_baselines3 import PPO

from guidegym.learning.stable_baselines import sb3_agent
from guidegym.learning.tuned import ppo

learner = sb3_agent(PPO, "MlpPolicy", ppo)
