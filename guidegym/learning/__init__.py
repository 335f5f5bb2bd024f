"""Learning agents: their common interface, and the training loop."""

from guidegym.learning.learn import LearnSettings, learn
from guidegym.learning.learner import Learner, load_learner, resolved_settings

__all__ = ["LearnSettings", "Learner", "learn", "load_learner", "resolved_settings"]
