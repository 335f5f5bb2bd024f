"""Adversarial attacks: inputs next to real ones that a classifier takes for another class."""
