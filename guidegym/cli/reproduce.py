"""``guidegym reproduce``: test the claims of the papers, and report whether each one holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from guidegym.cli.constants import number
from guidegym.cli.flags import MANY, check_device, naming_flags
from guidegym.errors import GuideGymError
from guidegym.support.files import make_folder
from guidegym.support.settings import MAX_SEED, check_count, whole_number

if TYPE_CHECKING:
    from guidegym.claims.claim import Claim
    from guidegym.evaluation.sample_sets.collect import Collection
    from guidegym.testbeds import Testbed

PER_CLASS, TUNING = 150, 40
QUICK_PER_CLASS, QUICK_TUNING = 100, 8
BATCH_SIZE: int = number("guidegym.core.sampling", "BATCH_SIZE")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReproduceSettings:
    """Which claims are tested, and with how many samples."""

    claims: Annotated[tuple[str, ...], MANY] = field(default=(), kw_only=False)
    """claims by name, or paths to Python files"""
    claim: Annotated[tuple[str, ...], MANY] = ()
    """the same, as a flag"""
    all: bool = False
    """every shipped claim"""
    list: bool = False
    """print the claims, one line each, and test none"""
    testbed: str | None = None
    """testbed, or path to a Python file with one or to a folder of train-models (default: fashion; digits with --quick)"""
    weights: Path | None = None
    """folder with weights to use instead of the testbed's own"""
    quick: bool = False
    """few samples, on digits: minutes instead of hours"""
    per_class: Annotated[int | None, Parameter(help=f"fresh samples per class (default {PER_CLASS})")] = None
    tuning: Annotated[int | None, Parameter(help=f"samples per class that weights are tuned on (default {TUNING})")] = (
        None
    )
    seed: int = 0
    """seed of the samples (default: 0)"""
    batch_size: Annotated[int, Parameter(help=f"rows at a time (default {BATCH_SIZE})")] = BATCH_SIZE
    out: Path | None = None
    """folder for records and pictures (default: runs/reproduce-TESTBED)"""
    page: Path | None = None
    """Markdown file for the page (default: results.md in --out)"""
    beside: Annotated[tuple[Path, ...], MANY] = ()
    """folders with records on other testbeds, which the page shows side by side with these"""
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""

    def __post_init__(self) -> None:
        for flag, value, least in (("--per-class", self.per_class, 6), ("--tuning", self.tuning, 6)):
            if value is not None:
                check_count(flag, value, least=least)
        check_count("--batch-size", self.batch_size, least=1)
        whole_number("--seed", self.seed, least=0, most=MAX_SEED)
        if self.page is not None and self.page.is_dir():
            raise GuideGymError(f"must be a file, got the folder {self.page}", argument="--page")


DEFAULTS = ReproduceSettings()


def reproduce(settings: ReproduceSettings = DEFAULTS) -> int:
    """Test the claims of the papers, and report whether each one holds."""
    # Imported here and below, once the flags are validated: importing torch takes seconds.
    from guidegym.claims.claim import load_claim
    from guidegym.claims.results_page import overview
    from guidegym.claims.verdicts import reproduce as test_claims
    from guidegym.registry import names
    from guidegym.testbeds import load_testbed

    known = names("claim")
    if settings.list:
        for name in known:
            print(f"{name:{max(map(len, known))}}  {load_claim(name).says}")
        return 0
    wanted = known if settings.all else [*settings.claims, *settings.claim]
    if not wanted:
        raise GuideGymError(f"name a claim, or give `--all`; shipped claims: {', '.join(known)}")
    claims = [load_claim(name) for name in dict.fromkeys(wanted)]
    device = check_device(settings.device)
    with naming_flags(settings, "weights"):
        testbed = load_testbed(
            settings.testbed or ("digits" if settings.quick else "fashion"), device=device, weights=settings.weights
        )
    out = settings.out or Path("runs") / f"reproduce-{testbed.name}"
    collection = _collection(settings, testbed, out)
    page = settings.page or out / "results.md"
    make_folder(page.parent)
    if not settings.all:
        _check_claims(claims, testbed)
    tuning = (QUICK_TUNING if settings.quick else TUNING) if settings.tuning is None else settings.tuning
    with naming_flags(settings, "beside"):
        records = test_claims(claims, collection, tuning_per_class=tuning, out=out, page=page, beside=settings.beside)
    if records:
        print(overview(records))
        print(f"records and pictures are in {out}, the page is {page}")
    return 0


def _collection(settings: ReproduceSettings, testbed: "Testbed", out: Path) -> "Collection":
    """Return the collection that the samples go to."""
    from guidegym.evaluation.measuring.extractor import judge_extractor
    from guidegym.evaluation.sample_sets.collect import Collection
    from guidegym.evaluation.sample_sets.evaluate_methods import energy_for

    fresh = QUICK_PER_CLASS if settings.quick else PER_CLASS
    return Collection(
        testbed,
        judge_extractor(testbed),
        per_class=fresh if settings.per_class is None else settings.per_class,
        seed=settings.seed,
        energy=energy_for(None, testbed.class_energies),
        folder=out / "chunks",
        batch_size=settings.batch_size,
    )


def _check_claims(claims: Sequence["Claim"], testbed: "Testbed") -> None:
    """Check that the networks of a testbed can decide the claims given by name."""
    for claim in claims:
        if missing := claim.missing(testbed):
            raise GuideGymError(f"claim '{claim.name}' needs {', '.join(missing)}, which {testbed.name} lacks")
        if unfit := claim.unfit(testbed):
            raise GuideGymError(
                f"claim '{claim.name}' cannot be decided by the networks of {testbed.name}: {'; '.join(unfit)}"
            )
