"""Evaluation of classifiers before guiding with them."""
