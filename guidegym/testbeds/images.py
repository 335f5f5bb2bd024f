"""Testbeds of images: a folder of self-describing weight files, made into a testbed."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from guidegym.diffusion import Process
from guidegym.errors import DataNotFoundError, FileFormatError
from guidegym.guidance import Classifier, ConditionalNetwork
from guidegym.networks import load_network
from guidegym.networks.weights import read_metadata
from guidegym.support.settings import check_count, finite_number
from guidegym.testbeds.class_energies import class_energies, load_energies, save_energies
from guidegym.testbeds.image_data import ImageData, to_unit_range
from guidegym.testbeds.judge import JudgeNetwork
from guidegym.testbeds.references import (
    file_digest,
    load_references,
    references_from_images,
    save_references,
)
from guidegym.testbeds.similarities import shipped_similarities
from guidegym.testbeds.testbed import Rows, Testbed, Training

WEIGHTS = Path(__file__).parent / "weights"
KEPT_REFERENCES = 1000


@dataclass(frozen=True)
class ImageSet:
    """The parts of a testbed of images other than its networks.

    Args:
        name: Its name.
        class_names: One name per class.
        event_shape: Channels, height and width.
        process: The noise process that the networks are trained on.
        load: Loads the data, from a folder or from its default location.
        networks: Names of the networks to train for it; empty for all that have recipes.
        judged_as: Name of the testbed whose judges measure it; empty if it has its own.
        texts: Texts that say each class, equally many per class, for a denoiser conditioned on text; empty for none.
        home: Folder of its own networks and judges; None if they come with the package.
    """

    name: str
    class_names: tuple[str, ...]
    event_shape: tuple[int, int, int]
    process: Process
    load: Callable[[Path | None], ImageData]
    networks: tuple[str, ...] = ()
    judged_as: str = ""
    texts: tuple[tuple[str, ...], ...] = ()
    home: Path | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shipped(self) -> Path:
        """Folder of its own weights, which come with the package unless it has a ``home``."""
        return WEIGHTS / self.name if self.home is None else self.home

    @property
    def judges(self) -> Path:
        """Folder of its judges and their reference statistics."""
        return WEIGHTS / (self.judged_as or self.name) if self.home is None else self.home


class LazyNetworks(Mapping[str, torch.nn.Module]):
    """Networks by name, read from their files on first access."""

    def __init__(self, files: Mapping[str, Path], device: torch.device) -> None:
        self._files, self._device = dict(files), device
        self._loaded: dict[str, torch.nn.Module] = {}

    def __getitem__(self, name: str) -> torch.nn.Module:
        if name not in self._loaded:
            self._loaded[name] = load_network(self._files[name], device=self._device)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def role_of(path: Path) -> str:
    """Return the role of a weight file's network: ``denoiser``, ``conditional``, ``judge`` or ``guide``.

    Raises:
        FileFormatError: If it is not a weight file.
    """
    architecture = read_metadata(path)["architecture"]
    name = str(architecture.get("name"))
    if name == "UNet":
        return "conditional" if architecture["config"].get("num_classes") else "denoiser"
    return "judge" if name.endswith("Judge") else "guide"


def files_by_role(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the weight files of a folder by role and name; ``references.safetensors`` is not one of them."""
    roles: dict[str, dict[str, Path]] = {"denoiser": {}, "conditional": {}, "judge": {}, "guide": {}}
    for path in sorted(folder.glob("*.safetensors")):
        if path.stem != "references":
            roles[role_of(path)][path.stem] = path
    return roles


def build_references(images: ImageSet, folder: Path, data: ImageData, *, device: torch.device) -> Path:
    """Measure the training images with the judge of ``folder`` and write ``references.safetensors`` beside it."""
    judge_path = folder / "judge.safetensors"
    judge = cast(JudgeNetwork, load_network(judge_path, device=device))
    references = references_from_images(
        judge,
        data.train_images,
        data.train_labels,
        num_classes=images.num_classes,
        kept=KEPT_REFERENCES,
        extractor=file_digest(judge_path),
        device=device,
    )
    save_references(references, folder / "references.safetensors")
    return folder / "references.safetensors"


def build_energies(images: ImageSet, folder: Path, data: ImageData, *, device: torch.device) -> Path:
    """Measure the training images with the guide classifiers of ``folder`` and write ``energies.json`` beside them.

    Raises:
        DataNotFoundError: If the folder has no guide.
    """
    guides = LazyNetworks(files_by_role(folder)["guide"], device)
    if not guides:
        raise DataNotFoundError(f"{folder} has no classifier to guide with; train one first")
    x, labels = to_unit_range(data.train_images).to(device), data.train_labels.to(device)
    energies = {
        name: class_energies(network, x, labels, num_classes=images.num_classes) for name, network in guides.items()
    }
    return save_energies(energies, folder)


def _test_rows(images: ImageSet, source: Path | None) -> Rows:
    data = images.load(source)
    return Rows(to_unit_range(data.test_images), data.test_labels)


def _training_of(path: Path) -> Training | None:
    """Return the training record of a weight file; None if it has none."""
    told: Any = read_metadata(path).get("training")
    try:
        updates, batch_size = (check_count(key, told[key], least=1) for key in ("steps", "batch_size"))
        error = told.get("score_error")
        return Training(updates * batch_size, updates, None if error is None else finite_number("score_error", error))
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _check_belonging(images: ImageSet, folder: Path, roles: Mapping[str, Mapping[str, Path]]) -> None:
    """Check that a folder's weight files belong to this testbed and have the roles that their names imply."""
    if not roles["guide"]:
        raise DataNotFoundError(f"{folder} has no weight file of a classifier to guide with")
    for role, files in roles.items():
        for name, path in files.items():
            if name in ("denoiser", "judge") and name != role:
                raise FileFormatError(f"{path} is the weight file of another kind of network: a {role}")
            training = read_metadata(path).get("training")
            of = training.get("testbed") if isinstance(training, dict) else None
            if of not in (None, images.name):
                raise FileFormatError(f"{path} was trained on '{of}', not on '{images.name}'")


def _check_complete(images: ImageSet, judged_by: Path, roles: Mapping[str, Mapping[str, Path]]) -> None:
    """Check that a testbed of a user's own images, of which nothing is shipped, has a denoiser and a judge."""
    for name, missing in (
        ("denoiser", "denoiser" not in roles["denoiser"]),
        ("judge", not (judged_by / "judge.safetensors").is_file()),
    ):
        if missing:
            raise DataNotFoundError(f"{images.shipped} has no {name}.safetensors: train {name} into it")


def load_images_testbed(images: ImageSet, device: torch.device, *, weights: Path | None = None) -> Testbed:
    """Load a testbed from the shipped weights or from a folder written by ``guidegym.train_models``.

    All classifiers in the folder may guide, each under its file's name, and all its judges form the bank. Without a denoiser
    or a judge, the shipped ones are used, so that a separately trained classifier can be evaluated and used.

    Raises:
        DataNotFoundError: If there is no guide, or the references of the folder's judge are missing.
        FileFormatError: If a file is damaged, was trained on another testbed, or the files are inconsistent.
    """
    folder = weights if weights is not None else images.shipped
    roles = files_by_role(folder)
    _check_belonging(images, folder, roles)
    judged_by = folder if "judge" in roles["judge"] else images.judges
    if "denoiser" not in roles["denoiser"]:
        roles["denoiser"] = files_by_role(images.shipped)["denoiser"]
    _check_complete(images, judged_by, roles)
    if judged_by != folder:
        roles["judge"] = {**files_by_role(judged_by)["judge"], **roles["judge"]}
    judges = LazyNetworks(roles["judge"], device)
    conditionals = LazyNetworks(roles["conditional"], device)
    files = [path for own in roles.values() for path in own.values()]
    return Testbed(
        name=images.name,
        process=images.process,
        denoiser=load_network(roles["denoiser"]["denoiser"], device=device),
        classifiers=cast(Mapping[str, Classifier], LazyNetworks(roles["guide"], device)),
        judge=cast(JudgeNetwork, judges["judge"]),
        judges=cast(Mapping[str, JudgeNetwork], judges),
        references=load_references(
            judged_by / "references.safetensors", extractor=file_digest(judged_by / "judge.safetensors"), device=device
        ),
        class_names=images.class_names,
        event_shape=images.event_shape,
        clip=1.0,
        device=device,
        similarities=shipped_similarities(images.name, images.class_names),
        conditionals=cast(Mapping[str, ConditionalNetwork], conditionals),
        class_energies=load_energies(folder, num_classes=images.num_classes, device=device),
        trained={
            name: training
            for role in ("guide", "conditional")
            for name, path in roles[role].items()
            if (training := _training_of(path)) is not None
        },
        identity=hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()[:16],
        test_data=functools.partial(_test_rows, images),
    )
