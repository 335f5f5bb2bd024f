"""Models: what is sampled and guided, and how models of other libraries become ones."""

from guidegym.models.model import Model

__all__ = ["Model"]
