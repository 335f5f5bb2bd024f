"""Rewards: what a finished sample is worth, row by row, and how that worth is spread over the chain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.metrics import cubic_kernel
from guidegym.testbeds import judge_features

FORMS = ("terminal", "difference")

Worth = Callable[[Engine, Tensor, Tensor], Tensor]
"""``(engine, clean samples, wanted classes) -> worth of each row``."""


@dataclass(frozen=True)
class Reward:
    """One worth by name.

    Args:
        worth: What each row's clean sample is worth; more is better.
        floor: The least it can be; failed rows get it.
        is_shared: Whether a row's worth depends on the others that are scored with it.
    """

    worth: Worth
    floor: float
    is_shared: bool = False

    def __call__(
        self, engine: Engine, x: Float[Tensor, " batch *event"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the worth of each row, at least the floor and finite."""
        worth = self.worth(engine, x, label).float()
        return worth.nan_to_num(self.floor, -self.floor, self.floor).clamp_min(self.floor)


def _confidence(engine: Engine, x: Tensor, label: Tensor) -> Tensor:
    r"""Return :math:`\log p(c | x)` under the judge."""
    judge = engine.testbed.judge
    return judge.classify(judge_features(judge, x)).log_softmax(dim=1).gather(1, label[:, None])[:, 0]


def _guide_logits(engine: Engine, x: Tensor) -> Tensor:
    if engine.guide is None:
        raise GuideGymError("this reward asks the guide, and the engine has none")
    return engine.testbed.classifier(engine.guide.classifier)(x, torch.zeros(len(x), dtype=x.dtype, device=x.device))


def _guide_confidence(engine: Engine, x: Tensor, label: Tensor) -> Tensor:
    r"""Return :math:`\log p(c | x)` under the guide itself: what guided is what measures."""
    return _guide_logits(engine, x).log_softmax(dim=1).gather(1, label[:, None])[:, 0]


def _energy_divergence(engine: Engine, x: Tensor, label: Tensor) -> Tensor:
    r"""Return :math:`-|E^*_c - E(x)|` under the guide's classifier.

    Source:
        Wang 2024, section 4.8.
    """
    energy = -_guide_logits(engine, x).logsumexp(dim=1)
    assert engine.guide is not None
    known = engine.testbed.class_energies
    if engine.guide.classifier not in known:
        raise GuideGymError(
            f"reward 'energy_divergence' needs the testbed's `class_energies` of classifier '{engine.guide.classifier}'; "
            f"it has those of {', '.join(known) or 'none'}"
        )
    return -(known[engine.guide.classifier].to(energy)[label] - energy).abs()


def _frechet(engine: Engine, x: Tensor, label: Tensor) -> Tensor:
    r"""Return minus the Frechet distance of the batch to real data, both as Gaussians without correlations, for every row.

    .. math:: -\|\mu - \mu_R\|^2 - \|s - s_R\|^2

    A batch of one row has no spread: it gets the distance of its features alone.
    """
    features = judge_features(engine.testbed.judge, x).double()
    mean, covariance = engine.testbed.references.pooled
    distance = (features.mean(dim=0) - mean).square().sum()
    if len(features) > 1:
        distance = distance + (features.std(dim=0) - covariance.diagonal().sqrt()).square().sum()
    return -distance.expand(len(x))


def _kid_witness(engine: Engine, x: Tensor, label: Tensor) -> Tensor:
    r"""Return minus the row's own share of its class' kernel distance.

    .. math:: -\Big(\frac{1}{n_c - 1} \sum_{j \ne i} k(x_i, x_j) - 2 \bar k(x_i, R_c) + \bar k(R_c, R_c)\Big)

    The mean over the ``n_c`` rows of a class is minus its unbiased kernel distance, so that a measure of sets becomes a reward
    a row. A row that is alone in its class has real data for company: the first term is then :math:`\bar k(R_c, R_c)`.
    """
    references = engine.testbed.references
    features = judge_features(engine.testbed.judge, x).double()
    own = references.self_term.double()[label]
    every = features.expand(len(references.features), -1, -1)
    across = cubic_kernel(every, references.features.double()).mean(dim=2).gather(0, label[None])[0]
    same = (label[:, None] == label[None, :]).fill_diagonal_(False)
    peers = same.sum(dim=1)
    within = torch.where(same, cubic_kernel(features, features), 0.0).sum(dim=1) / peers.clamp_min(1)
    return -(torch.where(peers > 0, within, own) - 2 * across + own)


REWARDS: Mapping[str, Reward] = {
    "confidence": Reward(_confidence, floor=-20.0),
    "guide_confidence": Reward(_guide_confidence, floor=-20.0),
    "energy_divergence": Reward(_energy_divergence, floor=-100.0),
    "frechet": Reward(_frechet, floor=-1000.0, is_shared=True),
    "kid_witness": Reward(_kid_witness, floor=-1000.0, is_shared=True),
}
"""Every reward by its name."""


@dataclass(frozen=True)
class RewardMix:
    """A weighted sum of rewards, at the end of the chain or spread over it.

    Args:
        terms: Names in ``REWARDS`` with their weights, each > 0.
        form: ``terminal`` gives the worth of the finished sample at the last step; ``difference`` gives at each step what
            the clean estimate has gained since the last one, which adds up to the same.
        evaluation_cost: Taken off for each network evaluation of the row, forward and backward alike, >= 0.

    Raises:
        GuideGymError: If a name is unknown or a number out of range.
    """

    terms: tuple[tuple[str, float], ...]
    form: str = "terminal"
    evaluation_cost: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name, _ in self.terms if name not in REWARDS]
        if unknown or not self.terms:
            raise GuideGymError(f"`reward` must be of {', '.join(REWARDS)}, got {', '.join(unknown) or 'none'}")
        if any(not 0 < weight < float("inf") for _, weight in self.terms):
            raise GuideGymError(f"the weights of `reward` must be > 0 and finite, got {dict(self.terms)}")
        if self.form not in FORMS:
            raise GuideGymError(f"`reward_form` must be of {', '.join(FORMS)}, got {self.form!r}")
        if not 0 <= self.evaluation_cost < float("inf"):
            raise GuideGymError(f"`evaluation_cost` must be >= 0 and finite, got {self.evaluation_cost}")

    @property
    def floor(self) -> float:
        """The least a sample can be worth, which failed rows get."""
        return sum(weight * REWARDS[name].floor for name, weight in self.terms)

    @property
    def is_shared(self) -> bool:
        """Whether a row's worth depends on the others that are scored with it."""
        return any(REWARDS[name].is_shared for name, _ in self.terms)

    def worth(
        self, engine: Engine, x: Float[Tensor, " batch *event"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the weighted sum for clean samples."""
        with torch.no_grad():
            total = torch.zeros(len(x), device=x.device)
            for name, weight in self.terms:
                total = total + weight * REWARDS[name](engine, x, label)
        return total


def reward_mix(reward: str | Mapping[str, float], *, form: str = "terminal", evaluation_cost: float = 0.0) -> RewardMix:
    """Return the mix that a name, or weights by name, describe."""
    terms = ((reward, 1.0),) if isinstance(reward, str) else tuple((name, float(w)) for name, w in reward.items())
    return RewardMix(terms, form=form, evaluation_cost=evaluation_cost)
