"""Out-of-distribution detection: three scores of an input's likeness to the data, and their detection performance."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import mannwhitneyu
from torch import Tensor

from guidegym.attacks.pgd import Attacked
from guidegym.metrics.accuracy import CHUNK
from guidegym.metrics.checking import check_features
from guidegym.support.autograd import input_gradient, ordinary, without_graph


class Scores(NamedTuple):
    r"""Three scores of each row, larger for inputs more like the data.

    Args:
        log_density: :math:`\log p(x) = \log \sum_y e^{f(x)_y}` up to a constant.
        confidence: :math:`\max_y p(y|x)`.
        mass: :math:`-\|\nabla_x \log p(x)\|_2`: inside the mass of the data the density is flat.
    """

    log_density: Float[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    mass: Float[Tensor, " n"]


@without_graph
def likeness(classifier: Attacked, x: Float[Tensor, " n *event"]) -> Scores:
    """Score clean rows at timestep 0; the network's parameters receive no gradient.

    Source:
        Yang et al. 2021, section 4.3; Grathwohl et al. 2020, section 5.3.
    """
    parts = []
    for rows in x.split(CHUNK):
        with torch.enable_grad():
            here = ordinary(rows.detach()).requires_grad_(True)
            logits = classifier(here, torch.zeros(len(rows), device=x.device))
            density = logits.logsumexp(dim=1)
            slope = input_gradient(density.sum(), here, network=classifier)
        # The log of the confidence distinguishes saturated rows, which all have confidence 1 in float32.
        confidence = logits.detach().double().log_softmax(dim=1).amax(dim=1)
        parts.append((density.detach(), confidence, -slope.flatten(1).norm(dim=1)))
    return Scores(*(torch.cat(part).double() for part in zip(*parts, strict=True)))


def auroc(inside: Float[Tensor, " n"], outside: Float[Tensor, " m"]) -> float:
    """Return the probability that a row of the data scores higher than an out-of-distribution one; ties count half.

    Raises:
        GuideGymError: If either set is empty, or a score is not finite.
    """
    check_features("inside", inside[:, None])
    check_features("outside", outside[:, None])
    # The Mann-Whitney statistic counts the pairs.
    pairs = mannwhitneyu(inside.cpu().numpy(), outside.cpu().numpy(), method="asymptotic").statistic
    return float(pairs) / (len(inside) * len(outside))


def detection(
    classifier: Attacked, x: Float[Tensor, " n *event"], outside: Mapping[str, Float[Tensor, " m *event"]]
) -> dict[str, dict[str, float]]:
    """Return the area under the ROC curve by out-of-distribution set and by score."""
    inside = likeness(classifier, x)
    found = {}
    for name, other in outside.items():
        scores = zip(Scores._fields, inside, likeness(classifier, other), strict=True)
        found[name] = {score: auroc(own, theirs) for score, own, theirs in scores}
    return found
