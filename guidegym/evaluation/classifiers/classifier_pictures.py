"""Pictures of a classifier's measurements and of its gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from guidegym.guidance import Classifier
from guidegym.metrics.accuracy import noise_to
from guidegym.metrics.gradients import log_likelihood_gradient
from guidegym.report.pictures import figure_of, png_of
from guidegym.testbeds import Testbed
from guidegym.testbeds.testbed import Rows

SHOWN_LEVELS = (0, 100, 250, 500, 750)


def measurements_picture(found: dict[str, Any], class_names: Sequence[str]) -> bytes:
    """Draw what ``measure`` found as a PNG: by noise level, by class, reliability, and attacks if there were any."""
    figure = figure_of(19, 8.4)
    panels = list(figure.subplots(2, 4).flat)
    _accuracies(panels[0], found["by_level"])
    _energies(panels[1], found["by_level"])
    _class_energies(panels[2], found["by_level"], class_names)
    _reliability(panels[3], found)
    _score_errors(panels[4], found["score"])
    rest = panels[5:]
    if "attacks" in found:
        for norm in found["attacks"]:
            _attacks(rest.pop(0), found, norm)
    if "gradients" in found:
        axis = rest.pop(0)
        axis.plot(found["gradients"]["timesteps"], found["gradients"]["cosine"], marker="o")
        axis.set(title="cosine to the true gradient", xlabel="timestep", ylim=(-1.02, 1.02))
    for axis in rest:
        axis.set_axis_off()
    figure.suptitle(f"{found['classifier']} on {found['testbed']}")
    return png_of(figure)


def _accuracies(axis: Axes, by_level: dict[str, Any]) -> None:
    """Draw accuracy by noise level and by darkness, and the calibration error."""
    for key, label, marker in (("accuracy", "noisy", "o"), ("accuracy_dark", "darkened only", "s"), ("ece", "ECE", "")):
        if key in by_level:  # darkness applies to images only
            colour = None if marker else "#999"
            axis.plot(by_level["timesteps"], by_level[key], marker=marker, label=label, color=colour)
    axis.set(title="accuracy and calibration error", xlabel="timestep", ylim=(0, 1.02))
    axis.legend()


def _energies(axis: Axes, by_level: dict[str, Any]) -> None:
    """Draw mean energies by noise level."""
    for name, label in (("energy", "E(x)"), ("energy_of_class", "E(x, y)")):
        rows = torch.tensor([[float("nan") if one is None else one for one in row] for row in by_level[name]])
        axis.plot(by_level["timesteps"], rows.nanmean(dim=1).tolist(), marker="o", label=f"{label}, all classes")
        low, high = rows.nan_to_num(torch.inf).amin(dim=1), rows.nan_to_num(-torch.inf).amax(dim=1)
        axis.fill_between(by_level["timesteps"], low.tolist(), high.tolist(), alpha=0.15)
    axis.set(title="mean energy (band: over classes)", xlabel="timestep")
    axis.legend()


def _class_energies(axis: Axes, by_level: dict[str, Any], class_names: Sequence[str]) -> None:
    """Draw mean energies of clean images by class."""
    for offset, (name, label) in zip((-0.2, 0.2), (("energy", "E(x)"), ("energy_of_class", "E(x, y)")), strict=True):
        known = [(place, value) for place, value in enumerate(by_level[name][0]) if value is not None]
        axis.barh([place + offset for place, _ in known], [value for _, value in known], height=0.4, label=label)
    axis.set(title="mean energy by class, clean")
    axis.set_yticks(range(len(class_names)), class_names)
    axis.invert_yaxis()
    axis.legend()


def _reliability(axis: Axes, found: dict[str, Any]) -> None:
    """Draw the reliability diagram and the share of rows per bin: the diagonal is a calibrated classifier."""
    held = found["reliability"]
    confidence, accuracy = ([one for one in held[key] if one is not None] for key in ("confidence", "accuracy"))
    bins, total = len(held["count"]), sum(held["count"])
    middles, shares = [(place + 0.5) / bins for place in range(bins)], [count / total for count in held["count"]]
    axis.bar(middles, shares, width=1 / bins, color="#ddd", label="share of the rows")
    axis.plot([0, 1], [0, 1], color="#999", linestyle=":")
    axis.plot(confidence, accuracy, marker="o", label="accuracy")
    axis.set(title=f"reliability, ECE {found['ece']:.3f}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(loc="upper left")


def _score_errors(axis: Axes, score: dict[str, Any]) -> None:
    """Draw the errors of the classifier's own score, the denoiser, and the two combined in predicting the noise."""
    for key, label in (("own", "own score"), ("denoiser", "denoiser"), ("guided", "denoiser, guided")):
        errors = [float("nan") if one is None else one for one in score[key]]
        axis.plot(score["timesteps"], errors, marker="o", label=label)
    axis.axhline(1.0, color="#999", linestyle=":")
    axis.set(title="squared error of the noise (1: none predicted)", xlabel="timestep", ylim=(0, 1.5))
    axis.legend()


def _attacks(axis: Axes, found: dict[str, Any], norm: str) -> None:
    """Draw accuracy under PGD by radius; under L2 also under a transfer attack and after purification."""
    own = found["attacks"][norm]
    axis.plot([0.0, *map(float, own)], [found["clean_of_attacked"], *own.values()], marker="o", label="PGD")
    if norm == "l2":
        axis.plot([1.0], [found["transfer"]], "x", label="attack on the judge")
        axis.plot([1.0], [found["purified"]["1"]], "^", label="PGD, purified once")
    axis.legend()
    axis.set(title=f"accuracy under attack, {norm}", xlabel="radius in [-1, 1] images", ylim=(0, 1.02))


def gradients_picture(testbed: Testbed, classifiers: dict[str, Classifier], rows: Rows, *, num: int = 3) -> bytes:
    """Draw gradients of log p(y | x_t) by timestep, with the classifiers side by side, for the same noisy images.

    A perceptually aligned gradient shows the object; other gradients show speckles.

    Source:
        Kawar et al. 2022, section 5.1 and Figure 3.
    """
    levels = [level for level in SHOWN_LEVELS if level <= testbed.process.grid()[-1]]
    lines = 1 + len(classifiers)
    figure = figure_of(1.5 * len(levels) + 2, 1.5 * num * lines + 0.4)
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
    figure.supxlabel(
        "each gradient is scaled to its largest value: red raises log p(y | x_t), blue lowers it", fontsize=9
    )
    return png_of(figure)


def _shown(image: Float[Tensor, " channels height width"]) -> Float[Tensor, " height width"]:
    """Return one channel, scaled so that its largest value is 1."""
    grey = image.detach().float().mean(dim=0).cpu()
    return grey / grey.abs().amax().clamp_min(1e-12)
