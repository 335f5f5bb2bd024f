"""Objectives of whole sets, and how each is distributed over its samples."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.metrics import cubic_kernel
from guidegym.objectives.definition import Finished, Objective, registered_objective
from guidegym.registry import register


def frechet_diagonal(finished: Finished) -> Tensor:
    r"""Return the Frechet distance of the set to real data, both as Gaussians without correlations.

    .. math:: \|\mu - \mu_R\|^2 + \|s - s_R\|^2

    A single sample has no spread: it gets the distance of its mean alone. With groups, the first samples of all groups
    form one set, the second ones another, and so on; each sample then gets the number of its set.
    """
    features = finished.seen.features.double()
    if finished.group is None:
        return _frechet_diagonal(finished, features)
    values, turn = torch.zeros(len(features), dtype=torch.float64, device=features.device), _turn(finished.group)
    for one in turn.unique():
        values[turn == one] = _frechet_diagonal(finished, features[turn == one])
    return values


def _frechet_diagonal(finished: Finished, features: Tensor) -> Tensor:
    shift, widening, _ = _frechet_parts(finished, features)
    return shift.square().sum() + widening.square().sum()


def _frechet_parts(finished: Finished, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the differences in mean and spread of features from real data, and the spread."""
    mean, covariance = finished.testbed.references.pooled
    shift = features.mean(dim=0) - mean
    if len(features) < 2:
        return shift, torch.zeros_like(shift), torch.ones_like(shift)
    spread = features.std(dim=0)
    return shift, spread - covariance.diagonal().sqrt(), spread


def _frechet_influence(finished: Finished) -> Tensor:
    r"""Return the distance, plus the first-order effect of one more sample like each: the derivative in both moments."""
    features = finished.seen.features.double()
    shift, widening, spread = _frechet_parts(finished, features)
    off = features - features.mean(dim=0)
    wider = (off.square() - off.square().mean(dim=0)) / (2 * spread.clamp_min(1e-12))
    return (shift.square() + widening.square()).sum() + 2 * (off * shift + wider * widening).sum(dim=1)


def _turn(group: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return the number of preceding samples of the same group, for each sample."""
    order = group.argsort(stable=True)
    sizes = group.unique(return_counts=True)[1]
    turn = torch.cat([torch.arange(int(size), device=group.device) for size in sizes])
    return torch.empty_like(turn).index_copy_(0, order, turn)


register("objective", "frechet_diagonal")(
    Objective("frechet_diagonal", frechet_diagonal, "minimize", 1000.0, influence=_frechet_influence)
)


def _kid_parts(finished: Finished) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean kernel of each sample with its peers and with real data of its class, and of real data with itself.

    A sample that is alone in its class is compared with real data instead of peers.
    """
    references, label, group = finished.testbed.references, finished.labels, finished.group
    features = finished.seen.features.double()
    own = references.self_term.double()[label]
    every = features.expand(len(references.features), -1, -1)
    across = cubic_kernel(every, references.features.double()).mean(dim=2).gather(0, label[None])[0]
    same = (label[:, None] == label[None, :]).fill_diagonal_(False)
    if group is not None:
        same &= group[:, None] != group[None, :]
    peers = same.sum(dim=1)
    within = torch.where(same, cubic_kernel(features, features), 0.0).sum(dim=1) / peers.clamp_min(1)
    return torch.where(peers > 0, within, own), across, own


@registered_objective(floor=-1000.0)
def kid_witness(finished: Finished) -> Float[Tensor, " batch"]:
    r"""Return minus the kernel distance of the sample's class, minus twice the deviation of its witness from the class mean.

    .. math:: -D_c - 2 (g_i - \bar g_c), \quad g_i = \frac{1}{n_c - 1} \sum_{j \ne i} k(x_i, x_j) - \bar k(x_i, R_c)

    ``g`` is the witness function of the kernel distance: large where there are more samples than real data. The mean over the
    samples of a class is minus its unbiased kernel distance ``D_c``, so a measure of sets becomes a reward per sample; and
    because each sample also enters the others' terms, its own term counts twice: the gradient of the mean reward is that of
    the distance. (The terms of ``D_c`` with ``x_i`` itself, which count it once, have the same mean, but following them is
    mode-seeking.)

    Source:
        Gretton et al. 2012, section 2.3.
    """
    within, across, own = _kid_parts(finished)
    label, num_classes = finished.labels, finished.model.num_classes

    def of_class(values: Tensor) -> Tensor:
        sums = torch.zeros(num_classes, dtype=values.dtype, device=values.device)
        return (sums.index_add_(0, label, values) / label.bincount(minlength=num_classes).clamp_min(1))[label]

    witness = within - across
    return -of_class(within - 2 * across + own) - 2 * (witness - of_class(witness))
