"""``guidegym sample``: sample a testbed under a guidance file, and write the samples and a picture of them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from guidegym.cli.constants import number, parts
from guidegym.cli.flags import MANY, SamplerSettings, check_device, naming_flags
from guidegym.errors import GuideGymError
from guidegym.support.settings import MAX_SEED, check_range, whole_number

if TYPE_CHECKING:
    from guidegym.core.sampling import Samples
    from guidegym.models import Model
    from guidegym.testbeds import Testbed

MAX_SAMPLES = 1_000_000
"""Upper bound on the samples of a run: they are held in memory until they are written."""
TESTBEDS = parts("testbed")
BATCH_SIZE: int = number("guidegym.core.sampling", "BATCH_SIZE")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Settings of a sampling run."""

    guidance: Path | None = None
    """a guidance file, such as best.json (default: no guidance)"""
    testbed: Annotated[
        str, Parameter(help=f"{TESTBEDS}, or a path to a Python file or a folder of train-models (default: fashion)")
    ] = "fashion"
    weights: Path | None = None
    """folder with weights to use instead of the testbed's own"""
    num: int = 80
    """number of samples (default: 80)"""
    labels: Annotated[tuple[str, ...] | None, MANY] = None
    """classes by name or number, cycled through (default: all)"""
    seed: int = 0
    """seed of the samples (default: 0)"""
    sampling: SamplerSettings = field(default_factory=SamplerSettings)
    batch_size: Annotated[int, Parameter(help=f"rows at a time (default: {BATCH_SIZE})")] = BATCH_SIZE
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""
    out: Path = Path("runs/samples")
    """folder for the files (default: runs/samples)"""

    def __post_init__(self) -> None:
        if not 1 <= self.num <= MAX_SAMPLES:
            raise GuideGymError(f"must be in 1..{MAX_SAMPLES}, got {self.num}", argument="--num")
        whole_number("--seed", self.seed, least=0, most=MAX_SEED)
        check_range("--batch-size", self.batch_size, least=1)


DEFAULTS = SampleSettings()


def sample(settings: SampleSettings = DEFAULTS) -> int:
    """Sample a testbed under a guidance file, and write the samples and a picture of them."""
    # Imported here and below, once the flags are validated: importing torch takes seconds.
    from tqdm import tqdm

    import guidegym.core.sampling as library
    from guidegym.core.engine import Engine
    from guidegym.guidance import Guidance, same_times
    from guidegym.support.files import make_folder
    from guidegym.testbeds import Testbed, load_model

    guidance = Guidance.load(settings.guidance) if settings.guidance else Guidance()
    sampler = settings.sampling.make()
    device = check_device(settings.device)
    with naming_flags(settings, "weights"):
        model = load_model(settings.testbed, device=device, weights=settings.weights)
    labels = parse_labels(settings.labels, model.class_names, settings.num)
    seeds = library.row_seeds(settings.seed, settings.num)
    with naming_flags(settings.sampling, num_steps="steps"):
        Engine.under(model, sampler, guidance)  # reports a mismatch before the progress bar starts
    found = guidance.found_for.process if guidance.found_for else None
    if found is not None and not same_times(found, model.process):
        print(
            f"note: the guidance was found under {found}; its schedules are read at the times of {model.process} "
            "(`Guidance.carried_to` keeps the noise levels)"
        )
    make_folder(settings.out)
    with tqdm(total=settings.num * sampler.num_steps, unit="step", unit_scale=True, desc="sample") as bar:
        samples = library.sample(
            model,
            guidance,
            labels=labels,
            seeds=seeds,
            sampler=sampler,
            batch_size=settings.batch_size,
            on_rows=bar.update,
        )
    written = _write(samples, model, settings.out, title=settings.guidance.name if settings.guidance else "unguided")
    judged = f"accuracy under the judge {100 * _judged(samples, model):.1f} %, " if isinstance(model, Testbed) else ""
    print(
        f"{settings.num} samples, {judged}"
        f"{samples.cost.total / settings.num:.0f} network evaluations per sample, {int(samples.failed.sum())} failed"
    )
    if isinstance(model, Testbed) and model.judge_note:
        print(f"note: {model.judge_note}")
    print(written)
    return 0


def parse_labels(given: Sequence[str] | None, class_names: Sequence[str], num: int) -> list[int]:
    """Return ``num`` labels that cycle through the given classes.

    Args:
        given: Classes by name (case-insensitive) or number; one text may hold several, separated by commas. None for all
            classes.
        class_names: One name per class.
        num: Number of labels, >= 1.

    Raises:
        GuideGymError: If a class is unknown.
    """
    known = {name.lower(): label for label, name in enumerate(class_names)}
    known |= {str(label): label for label in range(len(class_names))}
    wanted = [part.strip() for text in given or [] for part in text.split(",") if part.strip()]
    for name in wanted:
        if name.lower() not in known:
            raise GuideGymError(
                f"`--labels` must be among {', '.join(class_names)} or 0..{len(class_names) - 1}, got {name!r}"
            )
    if given is not None and not wanted:
        raise GuideGymError("`--labels` must name a class, got none")
    chosen = [known[name.lower()] for name in wanted] or list(range(len(class_names)))
    return [chosen[i % len(chosen)] for i in range(num)]


def _write(samples: "Samples", model: "Model", out: Path, *, title: str) -> str:
    """Write the samples and their picture, and return a line that names the files."""
    import numpy as np

    from guidegym.report.pictures import COLUMNS, drawn_or_noted, picture_of
    from guidegym.support.files import write_atomically, write_or_remove

    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x=samples.x.cpu().numpy(),
        labels=samples.labels.cpu().numpy(),
        seeds=samples.seeds.cpu().numpy(),
        failed=samples.failed.cpu().numpy(),
    )
    # The arrays first: a picture can be drawn again.
    write_atomically(out / "samples.npz", buffer.getvalue())
    picture = drawn_or_noted("the samples", picture_of, model, samples.x, samples.labels, title=title)
    write_or_remove(out / "samples.png", picture)
    if picture is None:
        return f"wrote {out / 'samples.npz'}"
    return f"wrote {out / 'samples.png'} ({COLUMNS} of each class at most) and {out / 'samples.npz'}"


def _judged(samples: "Samples", testbed: "Testbed") -> float:
    """Return the share of samples that the judge assigns to the wanted class."""
    return float((testbed.seen(samples.x).hits(samples.labels) & ~samples.failed).double().mean())
