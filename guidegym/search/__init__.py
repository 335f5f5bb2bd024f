"""Searching guidance: the Study record, the batched ask-and-tell loop, confirmation, and the report.

The record and the scoring do not need Optuna; the code that runs a search is imported from ``guidegym.search.tuning``.
"""

from guidegym.search.plain import objective
from guidegym.search.scoring import Scored, Scorer
from guidegym.search.study import Baseline, Study

__all__ = ["Baseline", "Scored", "Scorer", "Study", "objective"]
