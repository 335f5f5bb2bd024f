"""Pictures: a grid of samples with class names, points in the plane, and schedule curves. All are PNGs, drawn off screen."""

import io
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.diffusion import Process
from guidegym.errors import one_line
from guidegym.guidance import Guidance
from guidegym.models import Model
from guidegym.testbeds.image_data import to_grey_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = 2
"""Minimum number of screen pixels per pixel of a sample."""
SMALLEST = 40
"""Approximate height in screen pixels of samples with fewer pixels."""
GAP = 2
LABEL_WIDTH = 92
LONGEST_TEXT = 80
"""Maximum number of characters of a name in a picture."""
COLUMNS = 8
"""Samples per class in a grid."""


def drawn_or_noted(what: str, draw: Callable[..., bytes], *arguments: Any, **keywords: Any) -> bytes | None:
    """Return a picture; None, with a note on stderr, if it cannot be drawn: results must not be lost for a picture."""
    try:
        return draw(*arguments, **keywords)
    except Exception as error:
        print(one_line(f"note: {what} cannot be drawn: {type(error).__name__}: {error}"), file=sys.stderr)
        return None


def sample_picture(
    x: Float[Tensor, " batch *event"],
    labels: Int[Tensor, " batch"],
    class_names: Sequence[str],
    *,
    columns: int = COLUMNS,
    title: str = "",
) -> bytes:
    """Draw samples as a PNG: images in one labelled row per class, points in the plane as a scatter plot.

    Args:
        x: Samples: images ``(B, C, H, W)`` in [-1, 1], with one or three channels, or with others, which are drawn in grey side
            by side; vectors ``(B, D)``, whose first two numbers are drawn; or anything else, drawn as a flat image.
        labels: Wanted class of each sample.
        class_names: One name per class.
        columns: Maximum number of samples per class.
        title: A line above them.
    """
    x, labels = x.detach().float().cpu(), labels.cpu()
    names, title = [plain_text(name) for name in class_names], plain_text(title)
    if x.ndim == 2:
        points = torch.cat([x, torch.zeros_like(x)], dim=1) if x.shape[1] == 1 else x
        return _scatter(points, labels, names, title=title)
    return _image_grid(as_images(x), labels, names, columns=columns, title=title)


def picture_of(model: Model, x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"], *, title: str) -> bytes:
    """Draw samples of a model as a grid, decoded if they are latents."""
    return sample_picture(model.images(x), labels, model.class_names, title=title)


def plain_text(text: str) -> str:
    """Return a name on one line that any font can draw: invalid and invisible characters are escaped."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def legend_label(name: str) -> str:
    """Return a name as a legend label: empty names and those with a leading underscore would be left out."""
    name = plain_text(name)
    return name if name.strip() and not name.startswith("_") else f" {name} "


def as_images(x: Float[Tensor, " batch *event"]) -> Float[Tensor, " batch channels height width"]:
    """Return samples as images of one or three channels; other channels are placed side by side, in grey."""
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    flat = x.reshape(len(x), -1, *x.shape[-2:]) if x.ndim > 2 else x.reshape(len(x), 1, 1, -1)
    return flat.transpose(1, 2).flatten(2)[:, None]


def _image_grid(x: Tensor, labels: Tensor, class_names: Sequence[str], *, columns: int, title: str) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    present = [label for label in range(len(class_names)) if bool((labels == label).any())]
    columns = min(columns, max(int((labels == label).sum()) for label in present))
    scale = max(SCALE, round(SMALLEST / x.shape[2]))
    height, width = x.shape[2] * scale, x.shape[3] * scale
    top = 22 if title else GAP
    font = ImageFont.load_default(size=13)
    wide = max(LABEL_WIDTH + columns * (width + GAP), GAP + math.ceil(font.getlength(title)))
    canvas = Image.new("RGB", (wide, top + len(present) * (height + GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 3), title, fill="black", font=font)
    grey = to_grey_levels(x)
    for row, label in enumerate(present):
        y = top + row * (height + GAP)
        draw.text((GAP, y + height // 2 - 8), class_names[label], fill="black", font=font)
        for column, sample in enumerate(grey[labels == label][:columns]):
            pixels = np.ascontiguousarray(sample.expand(3, -1, -1).permute(1, 2, 0).numpy())
            picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(picture, (LABEL_WIDTH + column * (width + GAP), y))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def figure_of(width: float, height: float) -> "Figure":
    """Return an empty figure of that size in inches, at 100 dots per inch."""
    # A Figure without pyplot: no global state, no screen, safe in threads.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def png_of(figure: "Figure") -> bytes:
    """Return a figure as a PNG."""
    buffer = io.BytesIO()
    as_plain_text(figure)
    # No software name or date in the file: equal pictures are equal files.
    with warnings.catch_warnings():
        # Warnings of missing glyphs and of tight layouts: the picture is drawn nevertheless.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def as_plain_text(figure: "Figure") -> None:
    """Show titles, labels and legends literally: names are plain text, in which a dollar sign does not begin a formula."""
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    texts = [*figure.texts, *(legend_text for legend in figure.legends for legend_text in legend.get_texts())]
    for axes in figure.axes:
        legend = axes.get_legend()
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += legend.get_texts() if legend is not None else []
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):  # ticks with given names
                texts += axis.get_ticklabels()
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_text(plain_text(text.get_text()))


def _scatter(x: Tensor, labels: Tensor, class_names: Sequence[str], *, title: str) -> bytes:
    figure = figure_of(4.5, 4.5)
    axes = figure.add_subplot()
    for label, name in enumerate(class_names):
        points = x[labels == label]
        if len(points):
            axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=8, alpha=0.6, label=legend_label(name))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(title)
    axes.legend(loc="upper right")
    return png_of(figure)


def schedule_picture(guidances: Mapping[str, Guidance], process: Process) -> bytes:
    """Draw the weight curves of guidances over the chain, noisy end on the left, as a PNG."""
    figure = figure_of(5.0, 3.0)
    axes = figure.add_subplot()
    t = process.grid().flip(0)
    for name, guidance in guidances.items():
        axes.plot(process.position(t).numpy(), guidance.weight(t, process).numpy(), label=legend_label(name))
    axes.invert_xaxis()
    axes.set_xlabel("position in the chain, 0..1000 (noise to the left)")
    axes.set_ylabel("guidance weight")
    axes.legend(loc="best")
    axes.grid(alpha=0.3)
    return png_of(figure)
