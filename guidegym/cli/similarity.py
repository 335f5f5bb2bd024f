"""``guidegym similarity``: how similar the classes of a testbed are, from embeddings of their descriptions."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from guidegym.errors import GuideGymError
from guidegym.report.tables import format_table
from guidegym.support.files import make_folder
from guidegym.support.text_encoder import MINILM, embed


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
