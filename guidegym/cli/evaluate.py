"""``guidegym evaluate``: evaluate classifiers before guiding with them, and guidance methods by their samples."""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from guidegym.cli.constants import names, number
from guidegym.cli.flags import MANY, SamplerSettings, check_device, flag, naming_flags
from guidegym.errors import GuideGymError
from guidegym.support.settings import MAX_SEED, check_count, whole_number

if TYPE_CHECKING:
    from guidegym.evaluation.measuring.extractor import Extractor
    from guidegym.testbeds import Testbed

PER_CLASS = 200
MOST = 1_000_000
"""Upper bound on samples per class and on resamples; a larger number is taken for a typing error."""
ROWS, ATTACKED = 2000, 200
"""Default numbers of rows to measure and to attack."""
METRICS = names("guidegym.evaluation.measuring.metrics", "METRICS")
RESAMPLES: int = number("guidegym.evaluation.measuring.metrics", "RESAMPLES")
BATCH_SIZE: int = number("guidegym.core.sampling", "BATCH_SIZE")
OF_CLASSIFIERS, OF_METHODS = Group("Classifiers", sort_key=1), Group("Methods", sort_key=2)


@Parameter(name="*", group=OF_CLASSIFIERS)
@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Settings that apply to classifiers only."""

    quick: bool = False
    """few rows and short attacks"""
    rows: Annotated[int | None, Parameter(help=f"rows to measure (default {ROWS})")] = None
    attacked: Annotated[int | None, Parameter(help=f"rows to attack (default {ATTACKED})")] = None


@Parameter(name="*", group=OF_METHODS)
@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """Settings that apply to guidance methods only."""

    per_class: Annotated[int, Parameter(help=f"samples per class (default {PER_CLASS})")] = PER_CLASS
    seed: int = 0
    """seed of the samples, the same for all methods (default 0)"""
    metrics: Annotated[tuple[str, ...], MANY, Parameter(help=f"some of: {METRICS}")] = ()
    energy: str | None = None
    """classifier whose energy divergence is measured (default: robust, if available)"""
    scales: Annotated[tuple[float, ...], MANY] = ()
    """factors on the guidance weight to draw curves over"""
    beside: Annotated[tuple[Path, ...], MANY] = ()
    """results.json of earlier evaluations to show beside this one"""
    resamples: Annotated[int, Parameter(help=f"bootstrap resamples (default {RESAMPLES})")] = RESAMPLES
    extractor: Literal["judge", "inception"] = "judge"
    """feature extractor for the samples (default: judge)"""
    inception_weights: Path | None = None
    """torch-fidelity's Inception weights (default: downloaded by torch-fidelity)"""
    shards: int | None = None
    """number of processes or machines that share --out and the sampling"""
    shard: int | None = None
    """index of this shard, from 0"""
    batch_size: Annotated[int, Parameter(help=f"rows at a time (default {BATCH_SIZE})")] = BATCH_SIZE

    def __post_init__(self) -> None:
        whole_number("--per-class", self.per_class, least=1, most=MOST)
        whole_number("--seed", self.seed, least=0, most=MAX_SEED)
        whole_number("--resamples", self.resamples, least=2, most=MOST)
        check_count("--batch-size", self.batch_size, least=1)
        if (self.shard is None) != (self.shards is None):
            raise GuideGymError("`--shard` and `--shards` belong together: give both")
        if not all(map(math.isfinite, self.scales)):
            said = " ".join(f"{one:g}" for one in self.scales)
            raise GuideGymError(f"must be finite numbers, got {said}", argument="--scales")
        if self.inception_weights is not None and self.extractor != "inception":
            raise GuideGymError("belongs to `--extractor inception`", argument="--inception-weights")


@Parameter(name="*", group=OF_METHODS)
@dataclass(frozen=True, kw_only=True)
class MethodSampler(SamplerSettings):
    """The diffusion sampler of guidance methods."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Settings of an evaluation."""

    classifier: Annotated[tuple[str, ...], MANY] = ()
    """classifiers by name, or: all"""
    guidance: Annotated[tuple[str, ...], MANY] = ()
    """guidance files, unguided, or classifier-free[:WEIGHT]; the others are compared with the first"""
    testbed: str = "fashion"
    """testbed, or path to a Python file with one or to a folder of train-models (default: fashion)"""
    weights: Path | None = None
    """folder with weights to use instead of the testbed's own"""
    data: Path | None = None
    """folder of the data set, if it is read from files"""
    out: Path | None = None
    """folder for the pages (default: runs/classifiers-TESTBED or runs/evaluate-TESTBED)"""
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""
    classifiers: ClassifierSettings = ClassifierSettings()
    methods: MethodSettings = MethodSettings()
    sampling: MethodSampler = MethodSampler()

    def __post_init__(self) -> None:
        """Check that every given flag applies to this kind of evaluation."""
        if self.classifier and self.guidance:
            raise GuideGymError("`--classifier` and `--guidance` are separate evaluations: give one of them")
        if self.classifier:
            _check_unused(self.methods, other="--guidance", own="--classifier")
            _check_unused(self.sampling, other="--guidance", own="--classifier")
        if self.guidance:
            _check_unused(self.classifiers, other="--classifier", own="--guidance")
        if self.data is not None and self.guidance and self.methods.extractor != "inception":
            raise GuideGymError("is only used with `--classifier` or `--extractor inception`", argument="--data")


DEFAULTS = EvaluateSettings()


def _check_unused(settings: Any, *, other: str, own: str) -> None:
    """Check that no flags of another kind of evaluation were given."""
    for field in fields(settings):
        if getattr(settings, field.name) != field.default:
            raise GuideGymError(f"belongs to `{other}`, got it with `{own}`", argument=flag(field.name))


def evaluate(settings: EvaluateSettings = DEFAULTS) -> int:
    """Evaluate classifiers before guiding with them, and guidance methods by their samples."""
    if not settings.classifier and not settings.guidance:
        raise GuideGymError("give `--classifier` or `--guidance`; see --help")
    # Imported here and below, once the flags are validated: importing torch takes seconds.
    from guidegym.testbeds import load_testbed

    device = check_device(settings.device)
    with naming_flags(settings, "weights"):
        testbed = load_testbed(settings.testbed, device=device, weights=settings.weights)
    (_classifiers if settings.classifier else _methods)(settings, testbed)
    return 0


def _classifiers(settings: EvaluateSettings, testbed: "Testbed") -> None:
    from guidegym.evaluation.classifiers.evaluate_classifiers import evaluate_classifiers
    from guidegym.evaluation.classifiers.measure import Effort

    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise GuideGymError(
            f"`--classifier` runs in one process, got {processes}: split the names over several commands"
        )
    own = settings.classifiers
    base = Effort(rows=300, attacked=40, attack_steps=10, smallest=10) if own.quick else Effort()
    given = {name: value for name in ("rows", "attacked") if (value := getattr(own, name)) is not None}
    with naming_flags(own, "rows", "attacked"):
        effort = Effort(**{**vars(base), **given})
    out = settings.out or Path("runs") / f"classifiers-{testbed.name}"
    evaluate_classifiers(testbed, list(settings.classifier), effort=effort, data=settings.data, out=out)


def _shard(settings: MethodSettings) -> tuple[int, int]:
    """Return this shard's index and the number of shards: from the flags, or from ``torchrun``."""
    if settings.shard is not None and settings.shards is not None:
        return settings.shard, settings.shards
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _extractor(settings: EvaluateSettings, testbed: "Testbed") -> "Extractor":
    from guidegym.evaluation.measuring.extractor import inception_extractor, judge_extractor

    if settings.methods.extractor == "inception":
        return inception_extractor(testbed, weights=settings.methods.inception_weights, data=settings.data)
    return judge_extractor(testbed)


def _methods(settings: EvaluateSettings, testbed: "Testbed") -> None:
    from guidegym.evaluation.sample_sets.collect import Collection
    from guidegym.evaluation.sample_sets.evaluate_methods import Plan, energy_for, evaluate_methods
    from guidegym.evaluation.sample_sets.named_methods import methods

    own = settings.methods
    out = settings.out or Path("runs") / f"evaluate-{testbed.name}"
    with naming_flags(own, "energy"):
        energy = energy_for(own.energy, testbed.class_energies)
    collection = Collection(
        testbed,
        _extractor(settings, testbed),
        per_class=own.per_class,
        seed=own.seed,
        energy=energy,
        folder=out / "chunks",
        batch_size=own.batch_size,
    )
    with naming_flags(own, "shard", "shards"):
        plan = Plan(own.metrics, own.scales, own.beside, own.resamples, *_shard(own))
    candidates = methods(list(settings.guidance), settings.sampling.make())
    with naming_flags(settings.sampling, num_steps="steps"):
        evaluate_methods(candidates, collection, plan, out=out)
