"""What ``render`` shows: clean estimates, the weights so far, and the judge's probability of the wanted class."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from guidegym.errors import GuideGymError
from guidegym.pictures import figure_of
from guidegym.testbeds import judge_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from guidegym.envs.episodes import Episodes

MAX_SHOWN = 16
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
"""What both environments say of their rendering."""


def check_render_mode(render_mode: str | None) -> None:
    """Check that a render mode is one there is."""
    if render_mode not in (None, *METADATA["render_modes"]):
        raise GuideGymError(f"`render_mode` must be None or 'rgb_array', got {render_mode!r}")


class Trace:
    """What happened so far in the rows that are shown."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.confidence: list[Tensor] = []

    def add(self, episodes: "Episodes") -> None:
        """Remember the step that was just taken."""
        state = episodes.running().state
        rows = slice(0, MAX_SHOWN)
        judge = episodes.task.engine.testbed.judge
        with torch.no_grad():
            logits = judge.classify(judge_features(judge, state.x_0[rows]))
        self.weights.append(state.weight[rows].float().cpu())
        self.confidence.append(logits.softmax(dim=1).gather(1, state.label[rows, None])[:, 0].float().cpu())


def frame(episodes: "Episodes", trace: Trace) -> NDArray[np.uint8]:
    """Draw the present step as an RGB array."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    state, task = episodes.running().state, episodes.task
    figure = figure_of(9.0, 3.0)
    left, middle, right = figure.subplots(1, 3)
    estimates = state.x_0[:MAX_SHOWN].float().cpu()
    if estimates.ndim == 4:
        _tile(left, estimates)
    else:
        references = task.engine.testbed.references.features.cpu()
        for points in references[:, :200]:
            left.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=2, alpha=0.3)
        left.scatter(estimates[:, 0].numpy(), estimates[:, 1].numpy(), s=20, c="black", marker="x")
    left.set_title("clean estimate")
    steps = task.engine.sampler.num_steps
    for axes, lines, title, top in (
        (middle, trace.weights, "weight", task.scale.max_weight),
        (right, trace.confidence, "judge: p(wanted class)", 1.0),
    ):
        if lines:
            axes.plot(np.arange(1, len(lines) + 1), torch.stack(lines).numpy(), marker=".", alpha=0.7)
        axes.set_xlim(0, steps + 0.5)
        axes.set_ylim(-0.03 * top, 1.05 * top)
        axes.set_title(title)
        axes.set_xlabel("step")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _tile(axes: "Axes", x: "Tensor") -> None:
    """Show images in a square grid."""
    columns = int(np.ceil(np.sqrt(len(x))))
    padded = torch.cat([x, -torch.ones(columns * -(-len(x) // columns) - len(x), *x.shape[1:])])
    rows = padded.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    axes.imshow(((rows.clamp(-1, 1) + 1) / 2).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
