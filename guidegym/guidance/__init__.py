"""Guides, schedules, and the Guidance record that is searched, saved and replayed."""

from guidegym.guidance.guidance import Guidance
from guidegym.guidance.guides import GUIDES, ClassEnergy, Classifier, Guide, Guided, Likelihood
from guidegym.guidance.schedules import SCHEDULES, Constant, Linear, Power, Schedule, Sigmoid

__all__ = [
    "GUIDES",
    "SCHEDULES",
    "ClassEnergy",
    "Classifier",
    "Constant",
    "Guidance",
    "Guide",
    "Guided",
    "Likelihood",
    "Linear",
    "Power",
    "Schedule",
    "Sigmoid",
]
