"""Two methods on digits and what is collected of them, for tests of evaluation."""

from guidegym import DDIM, Constant, Guidance, Likelihood
from guidegym.evaluation.sample_sets.collect import Collection, SampleSet, collect, merge
from guidegym.search import Candidate

GUIDED = Candidate("guided", Guidance(Likelihood("time_dependent"), Constant(2.0)), DDIM(4, eta=1.0))
PLAIN = Candidate("unguided", Guidance(), DDIM(4, eta=1.0))


def collected(candidate: Candidate, collection: Collection) -> SampleSet:
    """Return a method's sample set, sampled where it is not there yet."""
    assert collect([candidate], collection) == 0
    return merge(candidate, collection)
