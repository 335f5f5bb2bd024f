"""The frames of ``render``: clean estimates, the weights so far, and the judge's probability of the wanted class."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from guidegym.core.state import fork
from guidegym.diffusion import rows_like
from guidegym.errors import GuideGymError
from guidegym.report.pictures import as_images, as_plain_text, figure_of
from guidegym.testbeds import Testbed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from guidegym.envs.episodes import Episodes

MAX_SHOWN = 16
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
"""The rendering metadata of both environments."""


def check_render_mode(render_mode: str | None) -> None:
    """Check that a render mode is supported."""
    if render_mode not in (None, *METADATA["render_modes"]):
        raise GuideGymError(f"`render_mode` must be None or 'rgb_array', got {render_mode!r}")


@dataclass
class Shown:
    """One row of the picture: its episode so far.

    Args:
        estimate: Its latest clean estimate; the sample itself at the end.
        weights: Guidance weight of each step.
        targets: Target share of the wanted class after each step.
        confidence: The judge's probability of the wanted class for each step's estimate.
    """

    estimate: "Tensor | None" = None
    weights: list[float] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)


class Trace:
    """The history of the displayed rows; an episode is kept until the first step of the next.

    Args:
        num_rows: Rows of the environment.
    """

    def __init__(self, num_rows: int) -> None:
        self.rows = [Shown() for _ in range(min(num_rows, MAX_SHOWN))]

    def clear(self, rows: NDArray[np.bool_]) -> None:
        """Forget the episodes of the given rows."""
        self.rows = [Shown() if anew else row for row, anew in zip(self.rows, rows, strict=False)]

    def add(self, episodes: "Episodes") -> None:
        """Record the step that was just taken; rows that took none are unchanged."""
        task, state = episodes.task, fork(episodes.running().state, torch.arange(len(self.rows)))
        x = torch.where(rows_like(task.engine.ended(state), state.x), state.x, state.x_0)
        model, label = task.engine.model, state.label[:, None]
        confidence = [0.0] * len(x)
        if isinstance(model, Testbed):
            confidence = model.seen(x).logits.softmax(dim=1).gather(1, label)[:, 0].tolist()
        target, steps = state.target.gather(1, label)[:, 0].tolist(), state.step.tolist()
        for number, step in enumerate(steps):
            if step <= 1:
                self.rows[number] = Shown()
            row = self.rows[number]
            if len(row.weights) < step:
                row.estimate = x[number].float().cpu()
                row.weights.append(float(state.weight[number]))
                row.targets.append(target[number])
                row.confidence.append(confidence[number])


def frame(episodes: "Episodes", trace: Trace) -> NDArray[np.uint8]:
    """Draw the current step as an RGB array."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    state, task = episodes.running().state, episodes.task
    curves = [
        ([row.weights for row in trace.rows], "weight", task.scale.max_weight),
        ([row.targets for row in trace.rows], "target of the wanted class", 1.0),
        ([row.confidence for row in trace.rows], "judge: p(wanted class)", 1.0),
    ]
    if not isinstance(task.engine.model, Testbed):
        del curves[2]
    if task.scale.max_rate is None:
        del curves[1]
    figure = figure_of(3.0 * (1 + len(curves)), 3.0)
    axes = figure.subplots(1, 1 + len(curves))
    estimates = torch.stack(
        [
            state.x_0[number].float().cpu() if row.estimate is None else row.estimate
            for number, row in enumerate(trace.rows)
        ]
    )
    names = [task.engine.model.class_names[label] for label in state.label[: len(trace.rows)].tolist()]
    real = (
        task.engine.model.references.features.cpu() if isinstance(task.engine.model, Testbed) else estimates[:0, None]
    )
    _draw_samples(axes[0], estimates, names, real)
    for beside, (lines, title, top) in zip(axes[1:], curves, strict=True):
        for line in lines:
            beside.plot(np.arange(1, len(line) + 1), line, marker=".", alpha=0.7)
        beside.set_xlim(0, task.engine.sampler.num_steps + 0.5)
        beside.set_ylim(-0.03 * top, 1.05 * top)
        beside.set_title(title)
        beside.set_xlabel("step")
    as_plain_text(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _draw_samples(axes: "Axes", x: "Tensor", names: list[str], references: "Tensor") -> None:
    """Show clean estimates: points in the plane among real ones, or images with their wanted classes."""
    axes.set_title("clean estimate")
    if x.ndim > 2:
        _tile(axes, as_images(x), names)
        return
    # One-dimensional points are drawn in the plane, too.
    x, references = (torch.cat([rows, torch.zeros_like(rows)], dim=-1) for rows in (x, references))
    for points in references[:, :200]:
        axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=2, alpha=0.3)
    axes.scatter(x[:, 0].numpy(), x[:, 1].numpy(), s=20, c="black", marker="x")


def _tile(axes: "Axes", x: "Tensor", names: list[str]) -> None:
    """Show images in a square grid."""
    columns = int(np.ceil(np.sqrt(len(x))))
    padded = torch.cat([x, -torch.ones(columns * -(-len(x) // columns) - len(x), *x.shape[1:])])
    rows = padded.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    axes.imshow(((rows.clamp(-1, 1) + 1) / 2).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    height, width = x.shape[-2:]
    for number, name in enumerate(names):
        row, column = divmod(number, columns)
        axes.text(column * width + 1, (row + 1) * height - 2, name, fontsize=6, color="orange")
    axes.set_axis_off()
