"""Self-contained HTML pages: one shell, tables and pictures for all reports."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } th, td { padding: .3em .7em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead { border-bottom: 2px solid #444; }
tbody tr:nth-child(odd) { background: #f4f6f8; } .ranked tbody tr:first-child { font-weight: 600; }
.wide { overflow-x: auto; } img { max-width: 100%; }
.grids { display: flex; flex-wrap: wrap; gap: 16px; } .grids img { width: calc(50% - 10px); border: 1px solid #ddd; }
pre { background: #f4f6f8; padding: 1em; overflow-x: auto; } .note { color: #555; }
"""


def encoded(text: str) -> bytes:
    """Return a page as bytes; invalid characters, as from undecodable file names, are escaped."""
    return text.encode("utf-8", "backslashreplace")


def page(title: str, parts: Iterable[str], *, script: str = "") -> str:
    """Return a whole page of ready HTML parts under a plain-text title; ``script`` is put inside its head."""
    title, body = html.escape(title), "\n".join(part for part in parts if part)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"{f'<script>{script}</script>' if script else ''}</head><body><h1>{title}</h1>{body}</body></html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, ranked: bool = False) -> str:
    """Return a table of plain texts that scrolls if it is too wide; the first of ranked rows is emphasised."""
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    kind = ' class="ranked"' if ranked else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(name: str, png: bytes) -> str:
    """Return a picture embedded in the page."""
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def note(text: str) -> str:
    """Return a paragraph of plain text in a quieter tone."""
    return f'<p class="note">{html.escape(text)}</p>'


def sample_grids(pictures: Mapping[str, bytes]) -> str:
    """Return a section with one picture of samples per method, side by side; empty if there are none."""
    if not pictures:
        return ""
    grids = "".join(picture(name, png) for name, png in pictures.items())
    return f'<h2>Samples</h2>{note("The same seeds in every grid.")}<div class="grids">{grids}</div>'
