"""The laboratory in which a claim samples and measures; weights are tuned on other seeds than those of the verdict."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jaxtyping import Float, Int
from torch import Tensor

from guidegym.core.sampling import OnRows
from guidegym.diffusion import Sampler
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.metrics import METRICS, check_names, check_size, measure_set, values_of
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.collect import Collection, collect, digest_of, merge, networks_used
from guidegym.guidance import Guidance
from guidegym.search.scope import SAMPLER, Scope, scope_of
from guidegym.testbeds import Testbed

TUNING_SEED = 2**20
"""First seed of the rows that weights are tuned on; verdicts use fresh rows."""

EXTENSIONS = 3
"""Doublings or halvings tried beyond the default weights if the best one is at the end of the grid."""

Family = Callable[[float], Guidance]
"""A method as a function of its weight."""


@dataclass
class Spending:
    """Cost of a claim's samples, tuning included, whether or not other claims share them.

    Args:
        sets: Network evaluations and seconds of each set of samples, by the digest of the set.
        waited: Seconds that this run spent sampling; less than the total if some sets already existed.
    """

    sets: dict[str, tuple[int, float]] = field(default_factory=dict)
    waited: float = 0.0

    @property
    def evaluations(self) -> int:
        """Network evaluations, forward and backward alike."""
        return sum(evaluations for evaluations, _ in self.sets.values())

    @property
    def seconds(self) -> float:
        """Seconds of sampling."""
        return sum(seconds for _, seconds in self.sets.values())


@dataclass(frozen=True)
class Lab:
    """A testbed with everything sampled from it; claims that need the same samples share them.

    Args:
        collection: The fresh samples and where they are kept.
        tuning_per_class: Samples per class that a weight is tuned on.
        resamples: Bootstrap resamples.
        on_rows: Called after each step with the number of rows that took it.
        seen: Measured fresh samples by method name, for the claim's table and picture.
        shown: Other measured samples with their labels, of which the picture shows some.
        used: Digests of the networks used for sampling, by role and name.
        asked: Metrics measured on fresh samples, in order.
        notes: Notes for readers of the verdict, by topic.
        spent: Total cost.
    """

    collection: Collection
    tuning_per_class: int
    resamples: int
    on_rows: OnRows | None = None
    seen: dict[str, SampleSet] = field(default_factory=dict)
    shown: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    spent: Spending = field(default_factory=Spending)

    @property
    def testbed(self) -> Testbed:
        """The testbed."""
        return self.collection.testbed

    @property
    def scope(self) -> Scope:
        """The testbed's default classifier and weights."""
        return scope_of(self.testbed.name)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights tried to find a method's best: doublings up to the largest."""
        return tuple(self.scope.max_scale / 2**power for power in range(5, -1, -1))

    def show(self, name: str, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"]) -> None:
        """Keep samples for the claim's picture."""
        self.shown[name] = (x.cpu(), labels.cpu())

    def _sets(self, methods: Mapping[str, Guidance], collection: Collection, sampler: Sampler) -> dict[str, SampleSet]:
        candidates = [Method(name, guidance, sampler) for name, guidance in methods.items()]
        for guidance in methods.values():
            self.note_networks(guidance.to_json(), collection.energy)
        began = time.perf_counter()
        collect(candidates, collection, on_rows=self.on_rows)
        self.spent.waited += time.perf_counter() - began
        sets = {}
        for one in candidates:
            own = sets[one.name] = merge(one, collection)
            known_by = f"{digest_of(one, collection)} {collection.per_class}"
            self.spent.sets[known_by] = (int(own.evaluations.sum()), own.seconds)
        return sets

    def note_networks(self, guidance: str, *further: str | None) -> None:
        """Record the networks that a guidance and further names refer to."""
        for role, own in networks_used(self.testbed, guidance, *further).items():
            self.used.setdefault(role, {}).update(own)

    def measured(
        self, methods: Mapping[str, Guidance], metrics: Sequence[str], *, sampler: Sampler = SAMPLER
    ) -> dict[str, dict[str, Measurement]]:
        """Measure methods on the fresh seeds."""
        check_names(metrics)
        check_size(metrics, self.collection.extractor.references, per_class=self.collection.per_class)
        sets = self._sets(methods, self.collection, sampler)
        self.seen.update(sets)
        self.asked.update(dict.fromkeys(metrics))
        references = self.collection.extractor.references
        return {name: measure_set(own, references, metrics, resamples=self.resamples) for name, own in sets.items()}

    def tuning(self, methods: Mapping[str, Guidance], metric: str, *, sampler: Sampler = SAMPLER) -> dict[str, float]:
        """Return one number of each method on the tuning seeds."""
        check_names([metric])
        collection = replace(self.collection, per_class=self.tuning_per_class, seed=TUNING_SEED + self.collection.seed)
        sets = self._sets(methods, collection, sampler)
        references = collection.extractor.references
        return {name: values_of(own, references, [metric])[metric] for name, own in sets.items()}

    def best_weight(
        self, family: Family, *, metric: str = "intra_kid", weights: Sequence[float] = (), name: str = ""
    ) -> float:
        """Return the best weight of a method on the tuning seeds.

        If the best default weight is the largest or smallest, up to ``EXTENSIONS`` further doublings or halvings are tried, so
        that no method is judged at the end of a grid that suits another method better.
        """
        sign = 1.0 if METRICS[metric].lower_is_better else -1.0
        found: dict[float, float] = {}
        further = list(weights or self.weights)
        for _ in range(1 + EXTENSIONS):
            numbers = self.tuning({f"{name} {weight:g}": family(weight) for weight in further}, metric)
            found |= {weight: sign * number for weight, number in zip(further, numbers.values(), strict=True)}
            best = min(found, key=lambda weight: math.inf if math.isnan(found[weight]) else found[weight])
            further = [] if weights else _beyond(best, list(found))
            if not further:
                break
        self.note_edge(name, best, list(found))
        return best

    def note_edge(self, name: str, best: float, tried: Sequence[float]) -> None:
        """Note a best weight that is the smallest or largest one tried."""
        if len(tried) > 1 and best in (min(tried), max(tried)):
            which = "smallest" if best == min(tried) else "largest"
            self.notes[name] = f"the best weight of {name}, {best:g}, is the {which} that was tried"

    def best(
        self, families: Mapping[str, Family], *, metric: str = "intra_kid", weights: Sequence[float] = ()
    ) -> dict[str, Guidance]:
        """Return each method at its best weight, with the weight in its name."""
        found = {}
        for name, family in families.items():
            weight = self.best_weight(family, metric=metric, weights=weights, name=name)
            found[f"{name}, w={weight:g}"] = family(weight)
        return found

    def compare_best(
        self, one: Family, other: Family, names: tuple[str, str], metric: str, *, tune_on: str = ""
    ) -> tuple[Measurement, Measurement]:
        """Measure two methods, each at its best weight, on the fresh seeds."""
        best = self.best(dict(zip(names, (one, other), strict=True)), metric=tune_on or metric)
        first, second = self.measured(best, [metric]).values()
        return first[metric], second[metric]


def _beyond(best: float, tried: Sequence[float]) -> list[float]:
    """Return the next weight beyond the tried ones if the best is at their end."""
    if best == max(tried):
        return [2 * best]
    return [best / 2] if best == min(tried) else []
