"""Pictures of an evaluation: the methods' samples from the same seeds side by side, and metrics against the weight."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

from guidegym.evaluation.measuring.metrics import METRICS
from guidegym.evaluation.measuring.sample_set import SampleSet
from guidegym.evaluation.sample_sets.results import Result
from guidegym.evaluation.sample_sets.table import title_of
from guidegym.models import Model
from guidegym.report.pictures import drawn_or_noted, figure_of, legend_label, picture_of, png_of

CURVES = ("frechet", "intra_kid", "precision", "recall", "coverage", "accuracy")
"""Metrics that are drawn against the weight, if measured."""
GAP = 12
IN_A_ROW = 4


def grids(sets: Sequence[SampleSet], model: Model) -> dict[str, bytes]:
    """Return one grid per method that can be drawn; the same position has the same seed in all."""
    found = {}
    for own in sets:
        name = own.method.name
        if png := drawn_or_noted(f"'{name}'", picture_of, model, own.shown, own.shown_labels, title=name):
            found[name] = png
    return found


def side_by_side(pictures: Sequence[bytes]) -> bytes:
    """Arrange one or more PNG pictures side by side, a few per row."""
    from PIL import Image

    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in pictures]
    width, height = (max(sizes) + GAP for sizes in zip(*(image.size for image in images), strict=True))
    columns = min(len(images), IN_A_ROW)
    rows = math.ceil(len(images) / columns)
    canvas = Image.new("RGB", (width * columns - GAP, height * rows - GAP), "white")
    for place, image in enumerate(images):
        canvas.paste(image, (place % columns * width, place // columns * height))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def curves(by_method: Mapping[str, Sequence[tuple[float, Result]]]) -> bytes:
    """Draw metrics against the factor on each method's weight, with their intervals, given the results at each factor."""
    measured = {name for points in by_method.values() for _, result in points for name in result.estimates}
    names = [name for name in CURVES if name in measured] or sorted(measured)
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    figure = figure_of(4.6 * columns, 3.4 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        scale = 100 if METRICS[name].share else 1
        for method, points in by_method.items():
            shown = [(factor, result.estimates[name]) for factor, result in points if name in result.estimates]
            shown = [(factor, one) for factor, one in shown if math.isfinite(one.value)]
            if shown:
                factors = [factor for factor, _ in shown]
                values, lows, highs = scale * np.array([(one.value, one.low, one.high) for _, one in shown]).T
                panel.plot(factors, values, marker="o", markersize=4, label=legend_label(method))
                panel.fill_between(factors, lows, highs, alpha=0.2)
        panel.set_title(title_of(name) + (", %" if METRICS[name].share else ""))
        panel.set_xlabel("factor on the weight")
        panel.grid(alpha=0.3)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    panels[0].legend()
    return png_of(figure)
