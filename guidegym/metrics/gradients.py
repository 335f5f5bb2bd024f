"""Quality of a classifier's gradients when the true ones are known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from guidegym.attacks.pgd import Attacked, logits_of
from guidegym.errors import GuideGymError
from guidegym.metrics.checking import check_features
from guidegym.support.autograd import input_gradient, ordinary, without_graph


@without_graph
def density_score(
    classifier: Attacked, x: Float[Tensor, " n *event"], t: Float[Tensor, " n"] | None = None
) -> Float[Tensor, " n *event"]:
    r"""Return :math:`\nabla_x \log \sum_y e^{f(x, t)_y}` of each row: the score of the density a classifier implies."""
    x, t = ordinary(x.detach()), None if t is None else ordinary(t)
    with torch.enable_grad():
        here = x.requires_grad_(True)
        density = logits_of(classifier, here, t).logsumexp(dim=1)
        return input_gradient(density.sum(), here, network=classifier)


def of_class(classifier: Attacked, labels: Int[Tensor, " n"]) -> Attacked:
    r"""Return a function for the single logit :math:`f(x, t)_y` of each row's class: its density score is that of ``p(x, y)``."""
    return lambda *at: classifier(*at).gather(1, labels[:, None])


@without_graph
def log_likelihood_gradient(
    classifier: Attacked, x: Float[Tensor, " n *event"], t: Float[Tensor, " n"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " n *event"]:
    r"""Return :math:`\nabla_x \log p(y | x, t)` of each row."""
    x, t, labels = (ordinary(one.detach()) for one in (x, t, labels))
    with torch.enable_grad():
        here = x.requires_grad_(True)
        missing = functional.cross_entropy(classifier(here, t), labels, reduction="sum")
        return input_gradient(-missing, here, network=classifier)


@dataclass(frozen=True)
class GradientQuality:
    """The agreement of gradients with the true ones.

    Args:
        mse: Mean over rows and coordinates of the squared difference.
        cosine: Mean of the cosine over the rows whose true gradient is not 0.
        best_scale: Factor on the gradients that minimises the error.
        scaled_mse: The error with that factor.
        score_cosine: Mean cosine of the conditional score, the true unconditional one plus the gradient.
        scaled_score_cosine: Mean cosine of the conditional score with the gradient times ``best_scale``.
    """

    mse: float
    cosine: float
    best_scale: float
    scaled_mse: float
    score_cosine: float
    scaled_score_cosine: float


def gradient_quality(
    gradient: Float[Tensor, " n dim"], true: Float[Tensor, " n dim"], score: Float[Tensor, " n dim"]
) -> GradientQuality:
    r"""Compare gradients with the true ones, and the resulting conditional scores given the true unconditional score.

    Args:
        gradient: A classifier's :math:`\nabla \log p(y|x)`.
        true: The true gradient.
        score: The true :math:`\nabla \log p(x)`.

    Raises:
        GuideGymError: If they are empty, not finite, or of different shapes.

    Source:
        CG-SC, section 3.4 and Table 1.
    """
    for name, rows in (("gradient", gradient), ("true", true), ("score", score)):
        check_features(name, rows)
        if rows.shape != true.shape:
            raise GuideGymError(f"`{name}` must have the shape of `true`, {tuple(true.shape)}, got {tuple(rows.shape)}")
    gradient, true, score = gradient.double(), true.double(), score.double()

    def cosine(first: Tensor, second: Tensor) -> float:
        pointing = second.norm(dim=1) > 0  # deep inside a class a gradient underflows and has no direction
        units = (functional.normalize(rows[pointing], dim=1, eps=1e-300) for rows in (first, second))
        return float(torch.stack(list(units)).prod(dim=0).sum(dim=1).mean())

    scale = float((gradient * true).sum() / gradient.square().sum().clamp_min(1e-300))
    return GradientQuality(
        mse=float((gradient - true).square().mean()),
        cosine=cosine(gradient, true),
        best_scale=scale,
        scaled_mse=float((scale * gradient - true).square().mean()),
        score_cosine=cosine(score + gradient, score + true),
        scaled_score_cosine=cosine(score + scale * gradient, score + true),
    )
