"""Learning agents: what they have in common, and the loop that trains one."""

from guidegym.learning.learner import Learner, load_learner, resolved_settings, shipped_learners
from guidegym.learning.loop import LearnSettings, learn

__all__ = ["LearnSettings", "Learner", "learn", "load_learner", "resolved_settings", "shipped_learners"]
