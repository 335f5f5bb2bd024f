"""The measuring system: methods on the same seeds, their metrics with intervals, paired differences and cost."""
