"""Studies: one file each, with a function ``study(testbed)`` that returns what is searched and against what."""
