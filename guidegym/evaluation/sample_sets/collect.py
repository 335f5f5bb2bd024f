"""Sampling for evaluation in chunks, of which only the measured quantities are kept on disk.

Rows depend only on their seed. A chunk is the same wherever and whenever it is sampled: an interrupted evaluation
continues where it stopped, shards of several machines merge exactly, and a larger set begins with the rows of a smaller one.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guidegym.core.sampling import BATCH_SIZE, OnRows, row_seeds
from guidegym.errors import GuideGymError
from guidegym.evaluation.measuring.extractor import Extractor
from guidegym.evaluation.measuring.method import Method, sample_methods
from guidegym.evaluation.measuring.sample_set import SampleSet, look
from guidegym.evaluation.sample_sets.chunks import is_there, read_chunk, write_chunk
from guidegym.networks import network_digest
from guidegym.support.settings import plain_fields
from guidegym.testbeds import Testbed

CHUNK_ROWS = 500
SHOWN = 8
"""Samples per class that are kept for pictures."""


@dataclass(frozen=True)
class Collection:
    """The samples to generate, and what to keep of them.

    Args:
        testbed: The testbed.
        extractor: The feature extractor.
        per_class: Samples per class, >= 1.
        seed: Seed of the rows, the same for all methods.
        energy: Classifier whose energy divergence is measured; None for none.
        folder: Folder of the chunks.
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
        """Number of samples per method."""
        return self.per_class * self.testbed.num_classes

    @property
    def num_chunks(self) -> int:
        """Number of chunks per method."""
        return -(-self.num_rows // CHUNK_ROWS)

    def chunk_size(self, chunk: int) -> int:
        """Return the rows of a chunk."""
        return min(CHUNK_ROWS, self.num_rows - chunk * CHUNK_ROWS)


def digest_in(testbed: Testbed, network: object) -> str:
    """Return a network's digest.

    Anything but a module cannot be told apart from another of the same name; the testbed's identity is used instead.
    """
    return network_digest(network) if isinstance(network, nn.Module) else testbed.identity


def _process_digest(testbed: Testbed) -> str:
    """Return a digest of the noise levels: a corrected process gives other samples."""
    t = testbed.process.grid()
    table = torch.stack([testbed.process.alpha_bar(t, torch.float64), testbed.process.sigma(t, torch.float64)])
    return hashlib.sha256(table.numpy().tobytes()).hexdigest()[:16]


def _names_in(content: Any) -> set[str]:
    """Return the texts in a guidance file's content, but for the kinds of its parts: a kind may be called like a network."""
    if isinstance(content, str):
        return {content}
    if isinstance(content, dict):
        content = [value for key, value in content.items() if key != "kind"]
    return set().union(*map(_names_in, content)) if isinstance(content, list) else set()


def networks_used(testbed: Testbed, guidance: str, *further: str | None) -> dict[str, dict[str, str]]:
    """Return the digests of the networks that sample and measure under a guidance file's text, by role and name.

    ``further`` names other classifiers and conditional denoisers in use.
    """
    written = _names_in(json.loads(guidance)) if guidance else set()
    found: dict[str, dict[str, str]] = {"denoiser": {"denoiser": digest_in(testbed, testbed.denoiser)}}
    roles = {"classifiers": testbed.classifiers, "conditionals": testbed.conditionals, "judges": testbed.judges}
    for role, networks in roles.items():
        named = [name for name in sorted(networks) if role == "judges" or name in written or name in further]
        found[role] = {name: digest_in(testbed, networks[name]) for name in named}
    return found


def _made_of(guidance: str, collection: Collection) -> str:
    """Return the parts of a testbed that a method's chunks depend on; other files in its folder of weights do not matter."""
    testbed, energy = collection.testbed, collection.energy
    tables: list[object] = [testbed.clip]
    for values in (testbed.class_energies, testbed.similarities):
        tables += [values[name].tolist() for name in sorted(values) if f'"{name}"' in guidance or name == energy]
    return f"{networks_used(testbed, guidance, energy)} {_process_digest(testbed)} {tables}"


def digest_of(method: Method, collection: Collection) -> str:
    """Return the digest that identifies a method's chunks, over everything that their content depends on."""
    testbed = collection.testbed
    with tempfile.TemporaryDirectory() as folder:
        method.guidance.save(Path(folder) / "guidance.json")
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    digest = hashlib.sha256()
    for part in (
        *files.values(),
        repr(method.sampler).encode(),
        f"{testbed.name} {testbed.num_classes} {collection.seed} {collection.energy}".encode(),
        _made_of(files["guidance.json"].decode(), collection).encode(),
        f"{collection.extractor.name} {collection.extractor.digest}".encode(),
    ):
        digest.update(part)
    return digest.hexdigest()[:16]


def _paths(method: Method, collection: Collection) -> list[Path]:
    """Return the files of a method's chunks."""
    folder = collection.folder / digest_of(method, collection)
    return [folder / f"{chunk:05d}.safetensors" for chunk in range(collection.num_chunks)]


def _sample(method: Method, collection: Collection, chunk: int, on_rows: OnRows | None) -> dict[str, Tensor]:
    """Sample one chunk and keep the measured quantities."""
    testbed, size, first = collection.testbed, collection.chunk_size(chunk), chunk * CHUNK_ROWS
    began = time.perf_counter()
    (samples,) = sample_methods(
        testbed,
        [method],
        labels=(first + torch.arange(size)) % testbed.num_classes,
        seeds=row_seeds(collection.seed, size, first=first),
        batch_size=collection.batch_size,
        on_rows=on_rows,
    )
    evaluations = samples.evaluations.cpu()  # waits for the device
    seconds = time.perf_counter() - began
    shown = min(max(SHOWN * testbed.num_classes - first, 0), size)
    own = look(method, samples, testbed, collection.extractor, energy=collection.energy, shown=shown)
    kept = {
        "features": own.features.float(),
        "logits": own.logits.float(),
        "hits": own.hits,
        "failed": own.failed,
        "evaluations": evaluations,
        "seconds": torch.tensor([seconds], dtype=torch.float64),
        "shown": own.shown.float(),
        "spatial": None if own.spatial is None else own.spatial.float(),
        "divergence": own.divergence,
    }
    return {name: value.cpu().contiguous() for name, value in kept.items() if value is not None}


def collect(
    methods: Sequence[Method],
    collection: Collection,
    *,
    shard: int = 0,
    shards: int = 1,
    on_rows: OnRows | None = None,
) -> int:
    """Sample the missing chunks of a shard, and return the number of chunks still missing over all shards.

    A shard, in 0 .. ``shards`` - 1, has every ``shards``-th chunk over all methods. Already sampled rows count at once.
    """
    every = [(method, chunk, path) for method in methods for chunk, path in enumerate(_paths(method, collection))]
    for method, chunk, path in every[shard::shards]:
        size = collection.chunk_size(chunk)
        if not is_there(path, size):
            write_chunk(path, _sample(method, collection, chunk, on_rows))
        elif on_rows is not None:
            on_rows(size * method.sampler.num_steps)
    # Counted at the end: parallel shards finish meanwhile, and the last of them must find all chunks.
    return sum(not is_there(path, collection.chunk_size(chunk)) for _, chunk, path in every)


def merge(method: Method, collection: Collection) -> SampleSet:
    """Merge a method's chunks.

    Raises:
        GuideGymError: If a chunk is missing.
    """
    chunks = []
    for chunk, path in enumerate(_paths(method, collection)):
        size = collection.chunk_size(chunk)
        if not is_there(path, size):
            raise GuideGymError(f"chunk {chunk + 1} of {collection.num_chunks} of '{method.name}' is missing: {path}")
        chunks.append(read_chunk(path, size))
    together: dict[str, Any] = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    for name in together.keys() - {"shown", "evaluations", "seconds"}:
        together[name] = together[name].to(collection.testbed.device)
    together["seconds"] = float(together["seconds"].sum())
    return SampleSet(method=method, num_classes=collection.testbed.num_classes, **together)
