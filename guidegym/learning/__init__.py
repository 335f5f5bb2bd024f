"""Learning agents: what they have in common, and the loop that trains one."""

from guidegym.learning.learn import LearnSettings, learn
from guidegym.learning.learner import Learner, load_learner, resolved_settings

__all__ = ["LearnSettings", "Learner", "learn", "load_learner", "resolved_settings"]
