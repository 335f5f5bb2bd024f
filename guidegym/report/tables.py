"""Tables as text: for the terminal, in Markdown, and as CSV."""

import csv
import io
import re
from collections.abc import Sequence

from guidegym.errors import one_line

MARKUP = re.compile(r"[\\`*{}\[\]<>$~&|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Characters with a meaning in Markdown, including GitHub's formulas; not underscores within a word."""


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns with spaces: texts to the left, numbers to the right; each row is one line, whatever its names contain."""
    table = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = []
    for name, *cells in table:
        aligned = [name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))]
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table in Markdown, one line per row."""
    lines = [[_cell(cell) for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def csv_text(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return the table as CSV."""
    out = io.StringIO()
    csv.writer(out).writerows([headings, *rows])
    return out.getvalue()


def as_markdown(text: str) -> str:
    """Return a name escaped for Markdown."""
    return MARKUP.sub(lambda letter: f"\\{letter[0]}", one_line(text))


def _cell(text: str) -> str:
    """Return a text that stays in its cell: a bar or a line break would end it."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.splitlines()))
