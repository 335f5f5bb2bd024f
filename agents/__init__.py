"""Agents: one file each, with a policy that chooses the guidance at every step."""
