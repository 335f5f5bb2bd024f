"""Objectives: measures of finished samples, which searches optimise, environments reward and tables report."""

from guidegym.objectives.definition import Finished, Objective, find_objective

__all__ = ["Finished", "Objective", "find_objective"]
