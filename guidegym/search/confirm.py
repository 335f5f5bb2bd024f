"""Confirmation: the best candidates and all baselines on fresh seeds, with bootstrap intervals."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.metrics import frechet_distance, moments, resampled_frechet
from guidegym.metrics.resampling import Estimate, interval_around, percentiles, recentred, resampling_weights
from guidegym.search.scoring import Measured, Scorer
from guidegym.search.study import OBJECTIVES
from guidegym.testbeds import References

RESAMPLES = 1000
FRECHET_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Confirmed:
    """One method on the fresh seeds.

    Args:
        measured: Its samples.
        kid: Class-wise kernel distance.
        frechet: Frechet distance to all real data at this number of samples.
        accuracy: Share that the judge takes for the class asked for.
        excess: How much worse it is than the best method in the first objective, on the same resamples.
    """

    measured: Measured
    kid: Estimate
    frechet: Estimate
    accuracy: Estimate
    excess: Estimate

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.measured.candidate.name


def frechet_estimate(
    measured: Measured, references: References, weights: Float[Tensor, " resamples classes n"]
) -> Estimate:
    """Return the Frechet distance of all classes together, with a bootstrap interval; infinite where a sample failed.

    A resample repeats samples, which biases the distance further upwards; the interval is the resamples' spread around
    their own mean, moved to the estimate.
    """
    if measured.num_failed:
        return Estimate(math.inf, math.inf, math.inf)
    rows = measured.features.transpose(0, 1).flatten(0, 1)
    mean, covariance = references.pooled
    value = frechet_distance(*moments(rows), mean, covariance)
    counts = weights.transpose(1, 2).flatten(1)
    resampled = resampled_frechet(rows, counts.to(rows.device), mean, covariance).cpu()
    return recentred(value, resampled)


def confirm(scorer: Scorer, measured: list[Measured], *, seed: int, objective: str = "kid") -> list[Confirmed]:
    """Put intervals on methods that were measured on the same fresh rows, the best in ``objective`` first.

    Those with failed samples come after all others, whatever they score.

    All methods are resampled together, row by row: they share their seeds, and so the difference between two is known
    far better than either. The intervals speak of the samples; the references are taken as they are.

    Args:
        scorer: The scorer of the fresh seeds.
        measured: The methods.
        seed: Seed of the resampling.
        objective: What decides which is best, one of ``OBJECTIVES``.
    """
    references = scorer.testbed.references
    weights = resampling_weights(scorer.testbed.num_classes, scorer.samples_per_class, resamples=RESAMPLES, seed=seed)
    kid = [
        # At the floor there is nothing to resample: one failed sample is enough to be there.
        torch.full((RESAMPLES,), one.floor, dtype=torch.float64)
        if one.kid == one.floor
        else one.kernels.distance(weights.to(one.kernels.across.device)).cpu()
        for one in measured
    ]
    accuracy = [(weights * one.hits.cpu()).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)) for one in measured]
    sign = 1.0 if OBJECTIVES[objective] == "minimize" else -1.0
    values = [sign * one.score(objective) for one in measured]
    resampled = [sign * own for own in {"kid": kid, "accuracy": accuracy}[objective]]
    order = sorted(range(len(values)), key=lambda i: (not measured[i].sound, values[i]))
    best = order[0]
    confirmed = [
        Confirmed(
            measured=one,
            kid=interval_around(one.kid, kid[i]),
            frechet=frechet_estimate(one, references, weights[:FRECHET_RESAMPLES]),
            accuracy=percentiles(one.accuracy, accuracy[i]),
            excess=interval_around(values[i] - values[best], resampled[i] - resampled[best]),
        )
        for i, one in enumerate(measured)
    ]
    return [confirmed[i] for i in order]
