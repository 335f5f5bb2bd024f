"""Evaluation of classifiers and of guidance methods: measurements, pictures, tables and pages."""
