"""Rewards: what a finished sample is worth, row by row, and how that worth is spread over the chain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.metrics import cubic_kernel
from guidegym.settings import check_type, plain_fields
from guidegym.testbeds import judge_features

FORMS = ("terminal", "difference")

Worth = Callable[[Engine, Tensor, Tensor, Tensor | None], Tensor]
"""``(engine, clean samples, wanted classes, groups) -> worth of each row``."""


@dataclass(frozen=True)
class Reward:
    """One worth by name.

    Args:
        worth: What each row's clean sample is worth; more is better.
        floor: The least it can be; failed rows get it.
        influence: For a worth that all rows share, what each row does to it: values of the same mean whose spread over rows
            is that of the mean, to first order. None where the worths are that themselves.
    """

    worth: Worth
    floor: float
    influence: Worth | None = None

    def __call__(
        self,
        engine: Engine,
        x: Float[Tensor, " batch *event"],
        label: Int[Tensor, " batch"],
        group: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return the worth of each row, finite and between the floor and what is as far above nought.

        Args:
            engine: What made the samples.
            x: Clean samples.
            label: Wanted classes.
            group: Rows of one group are alternatives to each other, not a set: none is scored in the company of another
                of its group. None for rows that all stand for themselves.
        """
        worth = self.worth(engine, x, label, group).float()
        return worth.nan_to_num(self.floor, -self.floor, self.floor).clamp(self.floor, -self.floor)


def _confidence(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return :math:`\log p(c | x)` under the judge."""
    testbed = engine.testbed
    return testbed.judged(judge_features(testbed.judge, x)).log_softmax(dim=1).gather(1, label[:, None])[:, 0]


def _guide_classifier(engine: Engine) -> str:
    name = None if engine.guide is None else engine.guide.classifier
    if name is None:
        raise GuideGymError("this reward asks the guide's classifier, and the engine's guide has none")
    return name


def _guide_logits(engine: Engine, x: Tensor) -> Tensor:
    return engine.testbed.classifier(_guide_classifier(engine))(x, torch.zeros(len(x), device=x.device))


def _guide_confidence(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return :math:`\log p(c | x)` under the guide itself: what guided is what measures."""
    return _guide_logits(engine, x).log_softmax(dim=1).gather(1, label[:, None])[:, 0]


def _energy_divergence(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return :math:`-|E^*_c - E(x)|` under the guide's classifier.

    Source:
        Wang 2024, section 4.8.
    """
    energy = -_guide_logits(engine, x).logsumexp(dim=1)
    known, classifier = engine.testbed.class_energies, _guide_classifier(engine)
    if classifier not in known:
        raise GuideGymError(
            f"reward 'energy_divergence' needs the testbed's `class_energies` of classifier '{classifier}'; "
            f"it has those of {', '.join(known) or 'none'}"
        )
    return -(known[classifier].to(energy)[label] - energy).abs()


def _frechet(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return minus the Frechet distance of the batch to real data, both as Gaussians without correlations, for every row.

    .. math:: -\|\mu - \mu_R\|^2 - \|s - s_R\|^2

    A batch of one row has no spread: it gets the distance of its features alone. Where there are groups, the first rows of
    all groups are one batch, the second rows another, and so on.
    """
    features = judge_features(engine.testbed.judge, x).double()
    worth = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    turn = torch.zeros_like(label) if group is None else _turn(group)
    for one in turn.unique():
        shift, widening, _ = _frechet_parts(engine, features[turn == one])
        worth[turn == one] = -(shift.square().sum() + widening.square().sum())
    return worth


def _frechet_parts(engine: Engine, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far the mean and the spread of features are from real ones, and the spread."""
    mean, covariance = engine.testbed.references.pooled
    shift = features.mean(dim=0) - mean
    if len(features) < 2:
        return shift, torch.zeros_like(shift), torch.ones_like(shift)
    spread = features.std(dim=0)
    return shift, spread - covariance.diagonal().sqrt(), spread


def _frechet_influence(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return the worth, plus what one row more like each would change: the derivative of the two moments."""
    features = judge_features(engine.testbed.judge, x).double()
    shift, widening, spread = _frechet_parts(engine, features)
    off = features - features.mean(dim=0)
    wider = (off.square() - off.square().mean(dim=0)) / (2 * spread.clamp_min(1e-12))
    return -(shift.square() + widening.square()).sum() - 2 * (off * shift + wider * widening).sum(dim=1)


def _turn(group: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return how many rows of its group come before each row."""
    order = group.argsort(stable=True)
    sizes = group.unique(return_counts=True)[1]
    turn = torch.cat([torch.arange(int(size), device=group.device) for size in sizes])
    return torch.empty_like(turn).index_copy_(0, order, turn)


def _kid_parts(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean kernel of each row with its peers and with real data of its class, and of real data with itself.

    A row that is alone in its class has real data for company.
    """
    references = engine.testbed.references
    features = judge_features(engine.testbed.judge, x).double()
    own = references.self_term.double()[label]
    every = features.expand(len(references.features), -1, -1)
    across = cubic_kernel(every, references.features.double()).mean(dim=2).gather(0, label[None])[0]
    same = (label[:, None] == label[None, :]).fill_diagonal_(False)
    if group is not None:
        same &= group[:, None] != group[None, :]
    peers = same.sum(dim=1)
    within = torch.where(same, cubic_kernel(features, features), 0.0).sum(dim=1) / peers.clamp_min(1)
    return torch.where(peers > 0, within, own), across, own


def _kid_witness(engine: Engine, x: Tensor, label: Tensor, group: Tensor | None) -> Tensor:
    r"""Return minus its class' kernel distance, less twice how far the row's witness stands out from the class'.

    .. math:: -D_c - 2 (g_i - \bar g_c), \quad g_i = \frac{1}{n_c - 1} \sum_{j \ne i} k(x_i, x_j) - \bar k(x_i, R_c)

    ``g`` is the witness function of the kernel distance: large where there are more samples than real data. The mean over the
    rows of a class is minus its unbiased kernel distance ``D_c``, so a measure of sets becomes a reward a row; and because a
    row is company to the others as they are to it, its own part counts twice: the gradient of the mean reward is that of the
    distance. (The terms of ``D_c`` that hold ``x_i`` itself, which count it once, have the same mean, but following them
    seeks modes.)

    Source:
        Gretton et al. 2012, section 2.3.
    """
    within, across, own = _kid_parts(engine, x, label, group)

    def of_class(values: Tensor) -> Tensor:
        sums = torch.zeros(engine.testbed.num_classes, dtype=values.dtype, device=values.device)
        counts = label.bincount(minlength=engine.testbed.num_classes).clamp_min(1)
        return (sums.index_add_(0, label, values) / counts)[label]

    witness = within - across
    return -of_class(within - 2 * across + own) - 2 * (witness - of_class(witness))


REWARDS: Mapping[str, Reward] = {
    "confidence": Reward(_confidence, floor=-20.0),
    "guide_confidence": Reward(_guide_confidence, floor=-20.0),
    "energy_divergence": Reward(_energy_divergence, floor=-100.0),
    "frechet": Reward(_frechet, floor=-1000.0, influence=_frechet_influence),
    "kid_witness": Reward(_kid_witness, floor=-1000.0),
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
        plain_fields(self)
        unknown = [name for name, _ in self.terms if name not in REWARDS]
        if unknown or not self.terms:
            raise GuideGymError(
                f"must be of {', '.join(REWARDS)}, got {', '.join(unknown) or 'none'}", argument="reward"
            )
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

    def worth(
        self,
        engine: Engine,
        x: Float[Tensor, " batch *event"],
        label: Int[Tensor, " batch"],
        group: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return the weighted sum for clean samples; ``group`` as in ``Reward``."""
        with torch.no_grad():
            total = torch.zeros(len(x), device=x.device)
            for name, weight in self.terms:
                total = total + weight * REWARDS[name](engine, x, label, group)
        return total

    def influence(
        self, engine: Engine, x: Float[Tensor, " batch *event"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return values with the mean of ``worth`` whose spread over rows tells how well that mean is known."""
        with torch.no_grad():
            total = torch.zeros(len(x), device=x.device)
            for name, weight in self.terms:
                known = REWARDS[name].influence or REWARDS[name].worth
                total = total + weight * replace(REWARDS[name], worth=known)(engine, x, label)
        return total


def reward_mix(reward: str | Mapping[str, float], *, form: str = "terminal", evaluation_cost: float = 0.0) -> RewardMix:
    """Return the mix that a name, or weights by name, describe.

    Raises:
        GuideGymError: If a name is unknown or a weight is no finite number.
    """
    weights: Mapping[str, float] = {} if isinstance(reward, str) else reward
    for name, weight in weights.items():
        check_type(name, weight, float)
    terms = ((reward, 1.0),) if isinstance(reward, str) else tuple((name, float(w)) for name, w in reward.items())
    return RewardMix(terms, form=form, evaluation_cost=evaluation_cost)
