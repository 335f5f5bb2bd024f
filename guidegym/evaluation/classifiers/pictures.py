"""A classifier's measurements in one picture, and its gradients as pictures."""

from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from guidegym.guidance import Classifier
from guidegym.metrics.accuracy import noise_to
from guidegym.metrics.gradients import log_likelihood_gradient
from guidegym.pictures import png_of
from guidegym.testbeds import Testbed
from guidegym.testbeds.testbed import Rows

SHOWN_LEVELS = (0, 100, 250, 500, 750)


def measurements_picture(found: dict[str, Any]) -> bytes:
    """Draw what ``measure`` found as a PNG: by noise level, reliability, and attacks where there were any."""
    panels = 5 if "attacks" in found else 4 if "gradients" in found else 3
    figure = Figure(figsize=(4.2 * panels, 3.8), layout="constrained", dpi=100)
    axes = figure.subplots(1, panels)
    by_level = found["by_level"]
    t = by_level["timesteps"]
    axes[0].plot(t, by_level["accuracy"], marker="o", label="noisy")
    axes[0].plot(t, by_level["accuracy_dark"], marker="s", label="darkened only")
    axes[0].set(title="accuracy", xlabel="timestep", ylim=(0, 1.02))
    axes[0].legend()
    for name, label in (("energy", "E(x)"), ("energy_of_class", "E(x, y)")):
        rows = torch.tensor([[float("nan") if one is None else one for one in row] for row in by_level[name]])
        axes[1].plot(t, rows.nanmean(dim=1).tolist(), marker="o", label=f"{label}, all classes")
        low, high = rows.nan_to_num(torch.inf).amin(dim=1), rows.nan_to_num(-torch.inf).amax(dim=1)
        axes[1].fill_between(t, low.tolist(), high.tolist(), alpha=0.15)
    axes[1].set(title="mean energy (band: over classes)", xlabel="timestep")
    axes[1].legend()
    _reliability(axes[2], found)
    if "attacks" in found:
        for axis, (norm, own) in zip(axes[3:], found["attacks"].items(), strict=True):
            radii = [0.0, *map(float, own)]
            axis.plot(radii, [found["clean_of_attacked"], *own.values()], marker="o", label="PGD")
            if norm == "l2":
                axis.plot([1.0], [found["transfer"]], "x", label="attack on the judge")
                axis.plot([1.0], [found["purified"]["1"]], "^", label="PGD, purified once")
                axis.legend()
            axis.set(title=f"accuracy under attack, {norm}", xlabel="radius in [-1, 1] images", ylim=(0, 1.02))
    elif "gradients" in found:
        axes[3].plot(found["gradients"]["timesteps"], found["gradients"]["cosine"], marker="o")
        axes[3].set(title="cosine to the true gradient", xlabel="timestep", ylim=(-1.02, 1.02))
    figure.suptitle(f"{found['classifier']} on {found['testbed']}")
    return png_of(figure)


def _reliability(axis: Any, found: dict[str, Any]) -> None:
    """Draw the reliability diagram: the diagonal is a calibrated classifier."""
    held = found["reliability"]
    pairs = [
        (confidence, accuracy)
        for confidence, accuracy in zip(held["confidence"], held["accuracy"], strict=True)
        if confidence is not None
    ]
    axis.plot([0, 1], [0, 1], color="#999", linestyle=":")
    axis.plot([pair[0] for pair in pairs], [pair[1] for pair in pairs], marker="o")
    axis.set(
        title=f"reliability, ECE {found['ece']:.3f}",
        xlabel="confidence",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )


def gradients_picture(testbed: Testbed, classifiers: dict[str, Classifier], rows: Rows, *, num: int = 3) -> bytes:
    """Draw gradients of log p(y | x_t) by timestep, one classifier beside another, for the same noisy images.

    A gradient that is aligned with perception shows the object; one that is not shows speckles.

    Source:
        Kawar et al. 2022, section 5.1 and Figure 3.
    """
    levels = [level for level in SHOWN_LEVELS if level < testbed.process.num_timesteps]
    lines = 1 + len(classifiers)
    figure = Figure(figsize=(1.5 * len(levels) + 2, 1.5 * num * lines + 0.4), layout="constrained", dpi=100)
    axes = figure.subplots(num * lines, len(levels), squeeze=False)
    for column, level in enumerate(levels):
        generator = torch.Generator(rows.x.device).manual_seed(0)
        x_t = noise_to(testbed.process, rows.x[:num], level, generator)
        t = torch.full((len(x_t),), float(level), device=x_t.device)
        slopes = [log_likelihood_gradient(own, x_t, t, rows.labels[:num]) for own in classifiers.values()]
        for row in range(num):
            for line, (name, shown) in enumerate(zip(["noisy image", *classifiers], [x_t, *slopes], strict=True)):
                axis = axes[row * lines + line, column]
                axis.imshow(_shown(shown[row]).numpy(), cmap="gray" if line == 0 else "RdBu_r", vmin=-1, vmax=1)
                axis.set(xticks=[], yticks=[])
                if column == 0:
                    axis.set_ylabel(name, rotation=0, ha="right", va="center")
                if row == line == 0:
                    axis.set_title(f"t = {level}")
    return png_of(figure)


def _shown(image: Float[Tensor, " channels height width"]) -> Float[Tensor, " height width"]:
    """Return one channel, scaled so that its largest value is 1."""
    grey = image.detach().float().mean(dim=0).cpu()
    return grey / grey.abs().amax().clamp_min(1e-12)
