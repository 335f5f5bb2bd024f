"""Inception Score: confident predictions that cover all classes."""

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.metrics.checking import check_logits, checked_weights


def inception_score(
    logits: Float[Tensor, " n classes"], weights: Float[Tensor, " resamples n"] | None = None
) -> Float[Tensor, " resamples"]:
    r"""Return :math:`\exp \mathbb{E}_x \mathrm{KL}(p(y|x) \| p(y))`, between 1 and the number of classes.

    Args:
        logits: A classifier's logits of the samples.
        weights: Number of draws of each sample in each resample; None is one resample with each sample once.

    Raises:
        GuideGymError: If logits are not finite, or the weights do not match the rows.

    Source:
        Salimans et al. 2016, section 4.
    """
    check_logits(logits)
    draws = checked_weights(weights, logits)
    p = logits.double().log_softmax(dim=1).exp()
    shares = draws / draws.sum(dim=1, keepdim=True)
    negative_entropy = shares @ torch.special.entr(p).sum(dim=1).neg()
    marginal = torch.special.entr(shares @ p).sum(dim=1)
    score: Tensor = (negative_entropy + marginal).exp()
    return score
