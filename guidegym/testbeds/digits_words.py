"""The ``digits-words`` testbed: the digits, drawn by a network that reads what is asked for in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from guidegym.errors import DataNotFoundError, GuideGymError
from guidegym.models import Model
from guidegym.networks import load_network
from guidegym.registry import register
from guidegym.support.tensor_files import read_tensors
from guidegym.support.text_encoder import MINILM, embed
from guidegym.testbeds.digits import DIGITS, digits
from guidegym.testbeds.images import WEIGHTS
from guidegym.testbeds.references import file_digest
from guidegym.testbeds.testbed import Testbed

TEMPLATES = (
    "{}",
    "the digit {}",
    "the number {}",
    "a picture of the number {}",
    "{}, written by hand",
    "a scribbled {}",
    "a small drawing of a {}",
    "please draw the figure {}",
)
"""Texts that the network is trained with; in each, a number stands as a word and as a numeral."""
PROMPTS = tuple(f"a handwritten {word}" for word in DIGITS.class_names)
"""The testbed's prompts, which are not among those trained with."""
DIGITS_WORDS = replace(
    DIGITS,
    name="digits-words",
    networks=("text",),
    judged_as="digits",
    texts=tuple(
        tuple(template.format(one) for template in TEMPLATES for one in (word, str(number)))
        for number, word in enumerate(DIGITS.class_names)
    ),
)


@dataclass(frozen=True, eq=False)
class Reader:
    """A network conditioned on text as a function of rows, times and the numbers of prompts, of which -1 is no prompt.

    Args:
        network: The network.
        texts: The embedding of each prompt.
    """

    network: nn.Module
    texts: Float[Tensor, " prompts dim"]

    def __call__(
        self, x: Float[Tensor, " batch *event"], t: Float[Tensor, " batch"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch *event"]:
        """Return the predicted noise."""
        predicted: Tensor = self.network(x, t, text=self.texts[label.clamp_min(0)] * (label >= 0)[:, None])
        return predicted


def _network(device: torch.device, weights: Path | None = None) -> tuple[nn.Module, str]:
    """Return the network and the digest of its file."""
    path = (DIGITS_WORDS.shipped if weights is None else weights) / "text.safetensors"
    if not path.is_file():
        raise DataNotFoundError(f"no file {path}: train text into that folder")
    return load_network(path, device=device), file_digest(path)[:16]


@register("testbed", "digits-words")
def digits_words(device: torch.device, weights: Path | None = None) -> Testbed:
    """Return the testbed: the digits with ``PROMPTS`` in place of classes; their embeddings come with the package."""
    network, digest = _network(device, weights)
    _, tensors = read_tensors(WEIGHTS / "digits-words" / "prompts.safetensors", device=device)
    shipped = digits(device)
    return replace(
        shipped,
        name=DIGITS_WORDS.name,
        class_names=PROMPTS,
        conditionals={"conditional": Reader(network, tensors["embeddings"])},
        identity=f"{shipped.identity}-{digest}",
    )


def digits_from_words(prompts: Sequence[str], *, device: torch.device | str = "cpu") -> Model:
    """Return a model that draws digits as the prompts say: label 1 is the second prompt.

    It has no judge, as nothing says what a prompt means: score its samples by an objective of your own.

    Args:
        prompts: The prompts, all different, such as "the number four".
        device: Device of the networks.

    Raises:
        GuideGymError: If there is no prompt, or one is there twice.
        DataNotFoundError: If the sentence encoder is not installed (``pip install 'guidegym[similarity]'``).
    """
    if isinstance(prompts, str) or not prompts or len(set(prompts)) < len(prompts):
        raise GuideGymError(f"must be a list of different prompts, got {prompts!r}", argument="prompts")
    device = torch.device(device)
    network, digest = _network(device)
    shipped = digits(device)
    return Model(
        process=shipped.process,
        denoiser=shipped.denoiser,
        conditionals={"conditional": Reader(network, embed(prompts, MINILM).to(device))},
        event_shape=shipped.event_shape,
        class_names=tuple(prompts),
        clip=shipped.clip,
        device=device,
        name=DIGITS_WORDS.name,
        identity=digest,
    )
