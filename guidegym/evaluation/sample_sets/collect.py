"""Sampling for evaluation: chunk after chunk, of which only what is measured is kept, on disk.

Rows depend only on their seed. A chunk is the same whoever samples it and when: an interrupted evaluation goes on where it
was, shards on several machines are merged exactly, and a larger set begins with the rows of a smaller one.
"""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from guidegym.errors import GuideGymError
from guidegym.evaluation.sample_sets.chunks import is_there, read_chunk, write_chunk
from guidegym.evaluation.sample_sets.extractor import Extractor
from guidegym.judging import failures_of
from guidegym.metrics.accuracy import logits_at
from guidegym.metrics.energies import energies_of
from guidegym.networks import network_digest
from guidegym.sampling import BATCH_SIZE, OnRows, row_seeds, sample
from guidegym.search import Candidate
from guidegym.settings import plain_fields
from guidegym.testbeds import Testbed
from guidegym.testbeds.testbed import seen_by

CHUNK_ROWS = 500
SHOWN = 8
"""Samples of each class that are kept whole, for pictures."""


@dataclass(frozen=True)
class Collection:
    """What is sampled and what is kept of it.

    Args:
        testbed: The testbed.
        extractor: What looks at the samples.
        per_class: Samples of each class, >= 1.
        seed: Seed of the rows; every method gets the same.
        energy: Classifier whose energy divergence is measured; None for none.
        folder: Where chunks are kept.
        batch_size: Rows that advance together.
    """

    testbed: Testbed
    extractor: Extractor
    per_class: int
    seed: int
    energy: str | None
    folder: Path
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        plain_fields(self)

    @property
    def num_rows(self) -> int:
        """Samples of each method."""
        return self.per_class * self.testbed.num_classes

    @property
    def num_chunks(self) -> int:
        """Chunks of each method."""
        return -(-self.num_rows // CHUNK_ROWS)

    def chunk_size(self, chunk: int) -> int:
        """Return the rows of a chunk."""
        return min(CHUNK_ROWS, self.num_rows - chunk * CHUNK_ROWS)


@dataclass(frozen=True, eq=False)
class SampleSet:
    """One method's samples as they were seen; rows are class by class in turn.

    Args:
        candidate: The method.
        features: In the extractor's space.
        logits: The extractor's.
        spatial: By place; None where the extractor keeps none.
        hits: Whether each judge of the bank takes the row for the class asked for; the first column is the judge's own.
        divergence: Energy divergence :math:`|E^*_c - E(x)|` of each row; None where it was not asked for.
        failed: Rows that came to nothing.
        evaluations: Network evaluations of each row, in the order of ``Cost``.
        seconds: Seconds that sampling took.
        shown: The first samples, whole.
        num_classes: Number of classes.
    """

    candidate: Candidate
    features: Float[Tensor, " n dim"]
    logits: Float[Tensor, " n outputs"]
    spatial: Float[Tensor, " n places"] | None
    hits: Bool[Tensor, " n judges"]
    divergence: Float[Tensor, " n"] | None
    failed: Bool[Tensor, " n"]
    evaluations: Int[Tensor, " n 4"]
    seconds: float
    shown: Float[Tensor, " some *event"]
    num_classes: int

    def by_class(self, rows: Tensor) -> Tensor:
        """Arrange rows as one block a class."""
        return rows.reshape(-1, self.num_classes, *rows.shape[1:]).transpose(0, 1)

    @property
    def shown_labels(self) -> Int[Tensor, " some"]:
        """Classes asked for of the samples that are kept whole."""
        return torch.arange(len(self.shown)) % self.num_classes


def digest_in(testbed: Testbed, network: object) -> str:
    """Return a network's digest.

    What is no module cannot be told from another of its name: there the testbed's identity stands in.
    """
    return network_digest(network) if isinstance(network, nn.Module) else testbed.identity


def _process_digest(testbed: Testbed) -> str:
    """Return a digest of the noise levels: a process that was mended samples otherwise."""
    t = torch.arange(testbed.process.num_timesteps)
    table = torch.stack([testbed.process.alpha_bar(t, torch.float64), testbed.process.sigma(t, torch.float64)])
    return hashlib.sha256(table.numpy().tobytes()).hexdigest()[:16]


def networks_used(testbed: Testbed, guidance: str, *further: str | None) -> dict[str, dict[str, str]]:
    """Return the digests of the networks that samples of a guidance are made with and measured by, by role and name.

    Args:
        testbed: The testbed.
        guidance: The guidance file's text.
        further: Names of classifiers and conditional denoisers that are used besides.
    """
    found: dict[str, dict[str, str]] = {"denoiser": {"denoiser": digest_in(testbed, testbed.denoiser)}}
    roles = {"classifiers": testbed.classifiers, "conditionals": testbed.conditionals, "judges": testbed.judges}
    for role, networks in roles.items():
        named = [name for name in sorted(networks) if role == "judges" or f'"{name}"' in guidance or name in further]
        found[role] = {name: digest_in(testbed, networks[name]) for name in named}
    return found


def _made_of(guidance: str, collection: Collection) -> str:
    """Return what of a testbed a method's chunks depend on; what else lies in its folder of weights changes nothing."""
    testbed, energy = collection.testbed, collection.energy
    tables: list[object] = [testbed.clip]
    for values in (testbed.class_energies, testbed.similarities):
        tables += [values[name].tolist() for name in sorted(values) if f'"{name}"' in guidance or name == energy]
    return f"{networks_used(testbed, guidance, energy)} {_process_digest(testbed)} {tables}"


def digest_of(candidate: Candidate, collection: Collection) -> str:
    """Return what a method's chunks are known by: a digest of all that their content depends on."""
    testbed = collection.testbed
    with tempfile.TemporaryDirectory() as folder:
        candidate.guidance.save(Path(folder) / "guidance.json")
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    digest = hashlib.sha256()
    for part in (
        *files.values(),
        repr(candidate.sampler).encode(),
        f"{testbed.name} {testbed.num_classes} {collection.seed} {collection.energy}".encode(),
        _made_of(files["guidance.json"].decode(), collection).encode(),
        f"{collection.extractor.name} {collection.extractor.digest}".encode(),
    ):
        digest.update(part)
    return digest.hexdigest()[:16]


def _paths(candidate: Candidate, collection: Collection) -> list[Path]:
    """Return the files of a method's chunks."""
    folder = collection.folder / digest_of(candidate, collection)
    return [folder / f"{chunk:05d}.safetensors" for chunk in range(collection.num_chunks)]


def _sample(candidate: Candidate, collection: Collection, chunk: int, on_rows: OnRows | None) -> dict[str, Tensor]:
    """Sample one chunk and keep what is measured."""
    testbed, size = collection.testbed, collection.chunk_size(chunk)
    numbers = chunk * CHUNK_ROWS + torch.arange(size)
    labels = numbers % testbed.num_classes
    began = time.perf_counter()
    samples = sample(
        testbed,
        candidate.guidance,
        labels=labels,
        seeds=row_seeds(collection.seed, size, first=chunk * CHUNK_ROWS),
        sampler=candidate.sampler,
        batch_size=collection.batch_size,
        on_rows=on_rows,
    )
    x = samples.x.nan_to_num(0.0)
    evaluations = samples.evaluations.cpu()
    seconds = time.perf_counter() - began
    seen = collection.extractor.look(x)
    known = collection.extractor.references.features
    failed = samples.failed | failures_of(testbed, samples.x, seen.features, known).rows
    labels = labels.to(x.device)
    # The judge comes first: its hits are the class accuracy. Where it is the extractor it has looked already.
    is_judge = collection.extractor.digest == testbed.references.extractor
    judged = [seen if is_judge else seen_by(testbed.judge, x)]
    judged += [seen_by(judge, x) for judge in testbed.judges.values() if judge is not testbed.judge]
    hits = torch.stack([one.logits.argmax(dim=1) == labels for one in judged], dim=1)
    kept = {
        "features": seen.features.float(),
        "logits": seen.logits.float(),
        "hits": hits & ~failed[:, None],
        "failed": failed,
        "evaluations": evaluations,
        "seconds": torch.tensor([seconds], dtype=torch.float64),
        "shown": samples.x[numbers < SHOWN * testbed.num_classes].float(),
    }
    if seen.spatial is not None:
        kept["spatial"] = seen.spatial.float()
    if collection.energy is not None:
        energy, _ = energies_of(logits_at(testbed.classifier(collection.energy), x, 0), labels)
        kept["divergence"] = (testbed.class_energies[collection.energy].to(energy)[labels] - energy).abs()
    return {name: value.cpu().contiguous() for name, value in kept.items()}


def check_shard(shard: int, shards: int) -> None:
    """Check that there is such a shard.

    Raises:
        GuideGymError: If there is not.
    """
    if shards < 1:
        raise GuideGymError(f"must be >= 1, got {shards}", argument="shards")
    if not 0 <= shard < shards:
        raise GuideGymError(f"must be in 0..{shards - 1}, got {shard}", argument="shard")


def collect(
    candidates: Sequence[Candidate],
    collection: Collection,
    *,
    shard: int = 0,
    shards: int = 1,
    on_rows: OnRows | None = None,
) -> int:
    """Sample what is missing of a shard's chunks, and return how many chunks of all shards are still missing.

    Args:
        candidates: The methods.
        collection: What is sampled.
        shard: Which shard, in 0 .. shards - 1: it samples every ``shards``-th chunk, over all methods.
        shards: Number of shards, >= 1.
        on_rows: Told after each step how many rows took it; rows that were sampled before count at once.

    Raises:
        GuideGymError: If there is no such shard.
    """
    check_shard(shard, shards)
    every = [
        (candidate, chunk, path) for candidate in candidates for chunk, path in enumerate(_paths(candidate, collection))
    ]
    for candidate, chunk, path in every[shard::shards]:
        size = collection.chunk_size(chunk)
        if not is_there(path, size):
            write_chunk(path, _sample(candidate, collection, chunk, on_rows))
        elif on_rows is not None:
            on_rows(size * candidate.sampler.num_steps)
    # Counted at the end: shards that run beside each other finish meanwhile, and the last of them must find all there.
    return sum(not is_there(path, collection.chunk_size(chunk)) for _, chunk, path in every)


def merge(candidate: Candidate, collection: Collection) -> SampleSet:
    """Put a method's chunks together.

    Raises:
        GuideGymError: If one is missing.
    """
    chunks = []
    for chunk, path in enumerate(_paths(candidate, collection)):
        size = collection.chunk_size(chunk)
        if not is_there(path, size):
            raise GuideGymError(
                f"chunk {chunk + 1} of {collection.num_chunks} of '{candidate.name}' is missing: {path}"
            )
        chunks.append(read_chunk(path, size))
    together = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    device = collection.testbed.device
    return SampleSet(
        candidate=candidate,
        features=together["features"].to(device),
        logits=together["logits"].to(device),
        spatial=together["spatial"].to(device) if "spatial" in together else None,
        hits=together["hits"].to(device),
        divergence=together["divergence"].to(device) if "divergence" in together else None,
        failed=together["failed"].to(device),
        evaluations=together["evaluations"],
        seconds=float(together["seconds"].sum()),
        shown=together["shown"],
        num_classes=collection.testbed.num_classes,
    )
