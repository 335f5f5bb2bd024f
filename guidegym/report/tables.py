"""Tables as text: for the terminal, and in Markdown."""

import re
from collections.abc import Sequence

from guidegym.errors import one_line

MARKUP = re.compile(r"[\\`*{}\[\]<>$~&|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""Characters with a meaning in Markdown, including GitHub's formulas; not underscores within a word."""


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns with spaces: texts to the left, numbers to the right; each row is one line, whatever its names contain."""
    headings, *rows = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    lines = []
    for row in [headings, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table in Markdown, one line per row."""
    lines = [[_cell(cell) for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def as_markdown(text: str) -> str:
    """Return a name escaped for Markdown."""
    return MARKUP.sub(lambda letter: f"\\{letter[0]}", one_line(text))


def _cell(text: str) -> str:
    """Return a text that stays in its cell: a bar or a line break would end it."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.splitlines()))
