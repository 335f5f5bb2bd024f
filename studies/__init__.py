"""Studies: one file each, with a function ``study(testbed)`` that returns a search space and its baselines."""
