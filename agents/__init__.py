"""Agents: one file each, with a policy that chooses the guidance of every step."""
