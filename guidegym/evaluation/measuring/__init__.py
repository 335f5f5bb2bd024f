"""The one measuring system: methods on the same seeds, their numbers with intervals, paired differences and cost."""
