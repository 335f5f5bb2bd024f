"""Inception Score: confident predictions that cover all classes."""

import torch
from jaxtyping import Float
from torch import Tensor

from guidegym.metrics.checking import check_logits, check_weights


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
    check_weights(weights, num_rows=len(logits))
    log_p = logits.double().log_softmax(dim=1)
    p = log_p.exp()
    weights = torch.ones(1, len(p), device=p.device) if weights is None else weights
    shares = weights.double() / weights.double().sum(dim=1, keepdim=True)
    negative_entropy = shares @ torch.special.entr(p).sum(dim=1).neg()
    marginal = torch.special.entr(shares @ p).sum(dim=1)
    score: Tensor = (negative_entropy + marginal).exp()
    return score
