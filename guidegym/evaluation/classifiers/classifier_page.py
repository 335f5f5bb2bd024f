"""The pages and tables of an evaluation."""

import html
import json
from collections.abc import Mapping
from typing import Any

from guidegym.evaluation.classifiers.measure import HEADLINE_RADIUS
from guidegym.report.page import note, page, picture, table
from guidegym.report.tables import as_markdown, markdown_table

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
    row |= {"score error": _mean_error(found["score"], "own"), "guided error": _mean_error(found["score"], "guided")}
    if "attacks" in found:
        row |= {
            f"PGD L2 {HEADLINE_RADIUS:g}": _share(found["attacks"]["l2"][f"{HEADLINE_RADIUS:g}"]),
            "PGD Linf 0.1": _share(found["attacks"]["linf"]["0.1"]),
            "transfer": _share(found["transfer"]),
            "purified": _share(found["purified"]["1"]),
            "C&W L2": f"{found['smallest_l2']['median']:.2f}",
        }
        sets = found["outside"].values()
        for score, heading in (("log_density", "OOD density"), ("confidence", "OOD confidence"), ("mass", "OOD mass")):
            row[heading] = f"{sum(own[score] for own in sets) / len(sets):.2f}"
    if "gradients" in found:
        quality = found["gradients"]
        row |= {"gradient MSE": f"{quality['mse'][1]:.3g}", "cosine": f"{quality['cosine'][1]:.3f}"}
    return row


def _mean_error(score: dict[str, Any], which: str) -> str:
    """Return the mean error over the noise levels except t = 0, where there is almost no noise."""
    errors = [one for t, one in zip(score["timesteps"], score[which], strict=True) if t > 0]
    return "" if None in errors or not errors else f"{sum(errors) / len(errors):.3f}"


def in_cells(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the headings of a table, those of its first row, and its cells."""
    heads = list(rows[0])
    return heads, [[row.get(head, "") for head in heads] for row in rows]


def markdown_of(rows: list[Row]) -> str:
    """Return the table in Markdown."""
    heads, cells = in_cells(rows)
    return markdown_table(heads, [[as_markdown(name), *numbers] for name, *numbers in cells])


def classifier_page(found: dict[str, Any], pictures: dict[str, bytes], *, how: str) -> str:
    """Return a self-contained page on one classifier: its table row, its pictures, out-of-distribution sets, and the record."""
    parts = [table(*in_cells([table_row(found)])), note(f"On {how}.")]
    parts += [f"<h2>{html.escape(name)}</h2><p>{picture(name, png)}</p>" for name, png in pictures.items()]
    if "outside" in found:
        rows = [
            {"outside set": name, **{score: f"{value:.3f}" for score, value in own.items()}}
            for name, own in found["outside"].items()
        ]
        parts.append("<h2>Out-of-distribution detection</h2>" + table(*in_cells(rows)))
        parts.append(note("Area under the ROC curve: 0.5 is chance, 1 tells all images apart."))
    record = html.escape(json.dumps(found, indent=1))
    parts.append(f"<details><summary>All numbers</summary><pre>{record}</pre></details>")
    return page(f"{found['classifier']} on {found['testbed']}", parts)


def table_page(testbed: str, rows: list[Row], files: Mapping[str, str], *, how: str) -> str:
    """Return the page with the table over all classifiers; the page of each lies beside it, under the name in ``files``."""
    names = [row["classifier"] for row in rows]
    links = " ".join(f'<a href="{files[name]}.html">{html.escape(name)}</a>' for name in names)
    return page(f"Classifiers of {testbed}", [table(*in_cells(rows)), note(f"On {how}."), f"<p>{links}</p>"])
