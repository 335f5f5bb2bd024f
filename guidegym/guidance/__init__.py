"""Guides, schedules, and the Guidance record that is searched, saved and replayed."""

from guidegym.guidance.degree import advance_degree, initial_degree, step_gamma
from guidegym.guidance.guidance import Guidance, make_guide
from guidegym.guidance.guides import GUIDES, ClassEnergy, Classifier, Guide, Guided, Likelihood
from guidegym.guidance.policy import ActionScale, Policy
from guidegym.guidance.schedules import SCHEDULES, Constant, Linear, Power, Schedule, Sigmoid, Table

__all__ = [
    "GUIDES",
    "SCHEDULES",
    "ActionScale",
    "ClassEnergy",
    "Classifier",
    "Constant",
    "Guidance",
    "Guide",
    "Guided",
    "Likelihood",
    "Linear",
    "Policy",
    "Power",
    "Schedule",
    "Sigmoid",
    "Table",
    "advance_degree",
    "initial_degree",
    "make_guide",
    "step_gamma",
]
