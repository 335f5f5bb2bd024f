"""The ``fashion`` testbed: Fashion-MNIST with networks trained by this package's own recipes."""

from pathlib import Path
from typing import cast

import torch

from guidegym.diffusion import VPProcess
from guidegym.networks import load_network
from guidegym.testbeds.energies import class_energies, load_energies, save_energies
from guidegym.testbeds.fashion_data import ImageData, to_unit_range
from guidegym.testbeds.references import (
    file_digest,
    load_references,
    references_from_features,
    save_references,
)
from guidegym.testbeds.similarities import shipped_similarities
from guidegym.testbeds.testbed import JudgeNetwork, Testbed, judge_features

SHIPPED = Path(__file__).parent / "weights" / "fashion"
PROCESS = VPProcess("cosine")
"""The process that the networks are trained on."""
CLASS_NAMES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
GUIDES = ("robust", "time_dependent")
"""The classifiers that may guide."""
KEPT_REFERENCES = 1000


def build_references(folder: Path, data: ImageData, *, device: torch.device) -> Path:
    """Measure the training images with the judge of ``folder`` and write ``references.safetensors`` beside it."""
    judge_path = folder / "judge.safetensors"
    judge = cast(JudgeNetwork, load_network(judge_path, device=device))
    features = judge_features(judge, to_unit_range(data.train_images).to(device))
    references = references_from_features(
        features.cpu(),
        data.train_labels,
        num_classes=len(CLASS_NAMES),
        kept=KEPT_REFERENCES,
        extractor=file_digest(judge_path),
    )
    save_references(references, folder / "references.safetensors")
    return folder / "references.safetensors"


def build_energies(folder: Path, data: ImageData, *, device: torch.device) -> Path:
    """Measure the training images with the guide classifiers of ``folder`` and write ``energies.json`` beside them."""
    x = to_unit_range(data.train_images).to(device)
    energies = {
        name: class_energies(
            load_network(folder / f"{name}.safetensors", device=device),
            x,
            data.train_labels.to(device),
            num_classes=len(CLASS_NAMES),
        )
        for name in GUIDES
    }
    return save_energies(energies, folder)


def load_fashion(device: torch.device, *, weights: Path | None = None) -> Testbed:
    """Load the testbed from the shipped weights or from a folder that ``guidegym.train_models`` filled.

    Its classifiers are ``time_dependent`` (cross-entropy on noisy images) and ``robust`` (adversarially trained on
    clean images, no time input). The label-conditional denoiser is there where the folder has its weights.

    Raises:
        DataNotFoundError: If a weight file is missing.
        FileFormatError: If one is damaged or they do not belong together.
    """
    folder = weights if weights is not None else SHIPPED
    networks = {
        name: load_network(folder / f"{name}.safetensors", device=device)
        for name in ("denoiser", "time_dependent", "robust", "judge")
    }
    conditional = folder / "conditional.safetensors"
    names = [*networks, *(["conditional"] if conditional.is_file() else [])]
    return Testbed(
        name="fashion",
        process=PROCESS,
        denoiser=networks["denoiser"],
        classifiers={name: networks[name] for name in GUIDES},
        judge=cast(JudgeNetwork, networks["judge"]),
        references=load_references(
            folder / "references.safetensors", extractor=file_digest(folder / "judge.safetensors"), device=device
        ),
        class_names=CLASS_NAMES,
        event_shape=(1, 28, 28),
        clip=1.0,
        device=device,
        similarities=shipped_similarities("fashion", CLASS_NAMES),
        conditional=load_network(conditional, device=device) if conditional.is_file() else None,
        class_energies=load_energies(folder, num_classes=len(CLASS_NAMES), device=device),
        identity="-".join(file_digest(folder / f"{name}.safetensors")[:8] for name in names),
    )
