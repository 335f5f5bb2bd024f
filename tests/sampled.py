"""Two methods on digits and what is collected of them, for tests of evaluation."""

from guidegym import DDIM, Constant, Guidance, Likelihood
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.collect import Collection, collect, merge

GUIDED = Method("guided", Guidance(Likelihood("time_dependent"), Constant(2.0)), DDIM(4, eta=1.0))
PLAIN = Method("unguided", Guidance(), DDIM(4, eta=1.0))


def collected(method: Method, collection: Collection) -> SampleSet:
    """Return a method's sample set, sampled where it is not there yet."""
    assert collect([method], collection) == 0
    return merge(method, collection)
