"""Evaluation of sample sets: metrics with their uncertainty, and methods compared row by row."""
