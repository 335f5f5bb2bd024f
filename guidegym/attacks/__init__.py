"""Adversarial attacks: inputs close to real ones that a classifier assigns to another class."""
