"""The measurements of a classifier before guiding with it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from guidegym.attacks.carlini_wagner import carlini_wagner_l2
from guidegym.attacks.pgd import Norm, pgd
from guidegym.guidance import Classifier
from guidegym.metrics.accuracy import (
    accuracy,
    dark_accuracy,
    logits_at,
    noise_to,
    noisy_logits,
    robust_accuracy,
    share_right,
)
from guidegym.metrics.calibration import expected_calibration_error, reliability
from guidegym.metrics.energies import energies_by_class
from guidegym.metrics.gradients import density_score, gradient_quality, log_likelihood_gradient
from guidegym.metrics.outside import detection
from guidegym.metrics.purification import purify
from guidegym.metrics.score_errors import SCORE_LEVELS, guided_error, score_error
from guidegym.support.settings import check_count, plain_fields
from guidegym.testbeds import Testbed
from guidegym.testbeds.outside_data import outside_images
from guidegym.testbeds.testbed import Rows

LEVELS = (0, *SCORE_LEVELS)
"""Timesteps at which a classifier is evaluated."""
RADII: dict[Norm, tuple[float, ...]] = {"l2": (0.5, 1.0, 2.0, 4.0), "linf": (0.05, 0.1, 0.2, 0.3)}
"""Radii of the attacks in units of [-1, 1] images."""
HEADLINE_RADIUS = 1.0
"""L2 radius of the transfer attack and of purification, also the radius in the table over all."""


@dataclass(frozen=True)
class Effort:
    """The number of measured rows, and the strength of the attacks.

    Args:
        rows: Rows for accuracy, energies and calibration.
        attacked: Rows that are attacked and purified.
        attack_steps: Steps of an attack.
        restarts: Random restarts of an attack.
        smallest: Rows whose smallest adversarial change is searched for.
    """

    rows: int = 2000
    attacked: int = 200
    attack_steps: int = 40
    restarts: int = 1
    smallest: int = 50

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, value in vars(self).items():
            check_count(name, value, least=1)

    def on(self, available: int) -> "Effort":
        """Return the effort limited to the available number of rows."""
        rows = min(self.rows, available)
        attacked = min(self.attacked, rows)
        return replace(self, rows=rows, attacked=attacked, smallest=min(self.smallest, attacked))

    @property
    def says(self) -> str:
        """The effort in words."""
        return f"{self.rows} rows, {self.attacked} of them attacked in {self.attack_steps} steps"


def measure(testbed: Testbed, name: str, rows: Rows, effort: Effort, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one classifier on held-out clean rows, shuffled and on the testbed's device; ``say`` hears what starts.

    Returns:
        Plain numbers, lists and dicts; measurements that do not apply to the testbed or the classifier are left out.
    """
    classifier = testbed.classifier(name)
    few = Rows(rows.x[: effort.rows], rows.labels[: effort.rows])
    found: dict[str, Any] = {"testbed": testbed.name, "classifier": name, "rows": len(few.x)}
    say("accuracy, energies and calibration")
    found["by_level"] = _by_level(testbed, classifier, few)
    logits = logits_at(classifier, few.x, 0)
    found["accuracy"] = share_right(logits, few.labels)
    found["ece"] = expected_calibration_error(logits, few.labels)
    found["reliability"] = {key: _numbers(value) for key, value in vars(reliability(logits, few.labels)).items()}
    say("score errors")
    found["score"] = _score_errors(testbed, classifier, Rows(*(one[: 2 * effort.attacked] for one in few)))
    if _black(testbed) is not None:
        found |= _as_images(testbed, classifier, few, effort, say)
    if testbed.exact is not None:
        found["gradients"] = _gradients(testbed, testbed.exact, classifier, few)
    return found


def _numbers(values: Tensor) -> list[float | None]:
    """Return plain numbers; non-finite ones become None, which JSON can represent."""
    return [value if math.isfinite(value) else None for value in values.double().tolist()]


def _black(testbed: Testbed) -> float | None:
    """Return the value of a black pixel; None if rows are not images."""
    return None if testbed.clip is None or len(testbed.event_shape) != 3 else -testbed.clip


def _levels(testbed: Testbed) -> list[int]:
    return [level for level in LEVELS if level <= testbed.process.grid()[-1]]


def _by_level(testbed: Testbed, classifier: Classifier, rows: Rows) -> dict[str, Any]:
    """Return accuracy, calibration and energies at each noise level."""
    process = testbed.process
    found: dict[str, Any] = {"timesteps": _levels(testbed)}
    for level in found["timesteps"]:
        logits = noisy_logits(classifier, rows.x, process=process, timestep=level)
        energies = energies_by_class(logits, rows.labels)
        measured = {
            "accuracy": share_right(logits, rows.labels),
            "ece": expected_calibration_error(logits, rows.labels),
            "energy": _numbers(energies.marginal),
            "energy_of_class": _numbers(energies.joint),
        }
        if (black := _black(testbed)) is not None:
            measured["accuracy_dark"] = dark_accuracy(classifier, *rows, process=process, timestep=level, black=black)
        for key, value in measured.items():
            found.setdefault(key, []).append(value)
    return found


def _score_errors(testbed: Testbed, classifier: Classifier, rows: Rows) -> dict[str, list[Any]]:
    """Return the errors of the classifier's score and of the guided denoiser at each noise level."""
    found: dict[str, list[Any]] = {"timesteps": _levels(testbed)}
    for level in found["timesteps"]:
        at: dict[str, Any] = {"process": testbed.process, "timestep": level}
        errors = {"own": score_error(classifier, rows.x, **at)}
        errors |= vars(guided_error(classifier, testbed.unconditional(), *rows, **at))
        for key, value in errors.items():
            found.setdefault(key, []).append(value if math.isfinite(value) else None)
    return found


def _as_images(
    testbed: Testbed, classifier: Classifier, rows: Rows, effort: Effort, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the measurements of image classifiers: attacks, out-of-distribution images, purification."""
    victims = Rows(rows.x[: effort.attacked], rows.labels[: effort.attacked])
    t = torch.zeros(len(victims.x), device=victims.x.device)
    headline: dict[str, Any] = {"radius": HEADLINE_RADIUS, "num_steps": effort.attack_steps}
    say("attacks")
    attacks = {
        norm: {
            f"{radius:g}": robust_accuracy(
                classifier, *victims, radius=radius, norm=norm, num_steps=effort.attack_steps, **_starts(effort)
            )
            for radius in radii
        }
        for norm, radii in RADII.items()
    }
    say("smallest changes")
    smallest = carlini_wagner_l2(
        classifier, victims.x[: effort.smallest], victims.labels[: effort.smallest], t=t[: effort.smallest]
    ).norms
    say("outside images")
    outside = detection(classifier, rows.x[: effort.attacked * 2], outside_images(rows.x, num=effort.attacked * 2))
    attacked = pgd(classifier, *victims, t=t, **headline)
    say("purification")
    purified = {
        str(rounds): accuracy(
            classifier, purify(classifier, attacked, process=testbed.process, rounds=rounds), victims.labels
        )
        for rounds in (0, 1, 2)
    }
    # Gradient masking cannot stop an attack on the judge.
    transferred = pgd(lambda x: testbed.judge.classify(testbed.judge.features(x)), *victims, **headline)
    return {
        "attacks": attacks,
        "clean_of_attacked": accuracy(classifier, *victims),
        "transfer": accuracy(classifier, transferred, victims.labels),
        "smallest_l2": {"median": float(smallest.median()), "fooled": float(smallest.isfinite().double().mean())},
        "outside": outside,
        "purified": purified,
    }


def _starts(effort: Effort) -> dict[str, Any]:
    """Return the settings of random starts if there are several."""
    return {"restarts": effort.restarts, "generator": torch.Generator().manual_seed(0)} if effort.restarts > 1 else {}


def _gradients(testbed: Testbed, exact: Classifier, classifier: Classifier, rows: Rows) -> dict[str, list[Any]]:
    """Return the gradients' quality at each noise level, for the rows' own classes."""
    generator = torch.Generator(rows.x.device).manual_seed(0)
    levels = _levels(testbed)
    found: dict[str, list[Any]] = {"timesteps": levels}
    for level in levels:
        x_t = noise_to(testbed.process, rows.x, level, generator)
        t = torch.full((len(x_t),), float(level), device=x_t.device)
        quality = gradient_quality(
            log_likelihood_gradient(classifier, x_t, t, rows.labels),
            log_likelihood_gradient(exact, x_t, t, rows.labels),
            density_score(exact, x_t, t),
        )
        for key, value in vars(quality).items():
            found.setdefault(key, []).append(value)
    return found


def shuffled(x: Float[Tensor, " n *event"], labels: Int[Tensor, " n"]) -> Rows:
    """Return rows in a fixed shuffled order that mixes classes."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)
    return Rows(x[order], labels[order])
