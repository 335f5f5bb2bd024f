"""The pages and tables of an evaluation."""

import base64
import csv
import html
import io
import json
from typing import Any

from guidegym.evaluation.measure import HEADLINE_RADIUS

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } th, td { padding: .3em .7em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead { border-bottom: 2px solid #444; }
tbody tr:nth-child(odd) { background: #f4f6f8; } img { max-width: 100%; } .wide { overflow-x: auto; } .note { color: #555; }
"""
Row = dict[str, str]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def table_row(found: dict[str, Any]) -> Row:
    """Return one line of the table over all classifiers."""
    by_level = found["by_level"]
    at = dict(zip(by_level["timesteps"], by_level["accuracy"], strict=True))
    row = {"classifier": found["classifier"], "accuracy": _share(found["accuracy"])}
    row |= {f"t = {level}": _share(at[level]) for level in (300, 600) if level in at}
    row["ECE"] = f"{found['ece']:.3f}"
    if "attacks" in found:
        row |= {
            f"PGD L2 {HEADLINE_RADIUS:g}": _share(found["attacks"]["l2"][f"{HEADLINE_RADIUS:g}"]),
            "PGD Linf 0.1": _share(found["attacks"]["linf"]["0.1"]),
            "transfer": _share(found["transfer"]),
            "purified": _share(found["purified"]["1"]),
            "C&W L2": f"{found['smallest_l2']['median']:.2f}",
        }
        sets = found["outside"].values()
        for score, heading in (("log_density", "OOD p(x)"), ("confidence", "OOD p(y|x)"), ("mass", "OOD mass")):
            row[heading] = f"{sum(own[score] for own in sets) / len(sets):.2f}"
    if "gradients" in found:
        quality = found["gradients"]
        row |= {"gradient MSE": f"{quality['mse'][1]:.3g}", "cosine": f"{quality['cosine'][1]:.3f}"}
    return row


def markdown_table(rows: list[Row]) -> str:
    """Return the table in Markdown."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(row.get(head, "") for head in heads) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def csv_table(rows: list[Row]) -> str:
    """Return the table as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _html_table(rows: list[Row]) -> str:
    heads = list(rows[0])
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row.get(one, ''))}</td>" for one in heads) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _page(title: str, parts: list[str]) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _image(name: str, png: bytes) -> str:
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def classifier_page(found: dict[str, Any], pictures: dict[str, bytes]) -> str:
    """Return a self-contained page on one classifier: the line of the table, its pictures, outside sets, and the record."""
    parts = [_html_table([table_row(found)])]
    parts += [f"<h2>{html.escape(name)}</h2>{_image(name, png)}" for name, png in pictures.items()]
    if "outside" in found:
        rows = [
            {"outside set": name, **{score: f"{value:.3f}" for score, value in own.items()}}
            for name, own in found["outside"].items()
        ]
        parts.append("<h2>Out-of-distribution detection</h2>" + _html_table(rows))
        parts.append('<p class="note">Area under the ROC curve: 0.5 is chance, 1 tells all images apart.</p>')
    record = html.escape(json.dumps(found, indent=1))
    parts.append(f"<details><summary>All numbers</summary><pre>{record}</pre></details>")
    return _page(f"{found['classifier']} on {found['testbed']}", parts)


def table_page(testbed: str, rows: list[Row]) -> str:
    """Return the page with the table over all classifiers."""
    return _page(f"Classifiers of {testbed}", [_html_table(rows)])
