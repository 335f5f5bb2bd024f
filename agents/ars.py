"""Augmented random search, by sb3-contrib over the native vector environment: a linear policy without gradients."""

from sb3_contrib import ARS

from guidegym.learning.stable_baselines import sb3_agent
from guidegym.learning.tuned import ars

learner = sb3_agent(ARS, "LinearPolicy", ars, norm_reward=False)
