"""How each network is trained: architecture, loss, batches and budget, one record a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from guidegym.metrics.pgd import Norm
from guidegym.networks import (
    DepthwiseJudge,
    Judge,
    MaxMahalanobisClassifier,
    MixerJudge,
    OffTheShelfClassifier,
    ResidualJudge,
    TimeDependentClassifier,
    UNet,
)
from guidegym.testbeds.images import ImageSet
from guidegym.training.adversarial import adversarial_cross_entropy, noisy_adversarial_cross_entropy
from guidegym.training.cross_entropy import noisy_cross_entropy, shifted_cross_entropy
from guidegym.training.denoising import conditional_noise_prediction, noise_prediction
from guidegym.training.dlsm import denoising_likelihood_score_matching
from guidegym.training.energy_based import JointEnergy, TimedJointEnergy
from guidegym.training.jacobian import jacobian_regularised
from guidegym.training.loop import LoopSettings
from guidegym.training.loss import Loss
from guidegym.training.max_mahalanobis import GenerativeMaxMahalanobis, Targets, center_regression
from guidegym.training.replay import ReplayBuffer
from guidegym.training.self_calibration import self_calibrated
from guidegym.training.sizes import Budget, Kind, Size

Batches = Literal["labelled", "both", "all"]
"""Which rows a batch is made of: those with a label, as many of those as of all the data, or all the data."""
Needed = Mapping[str, nn.Module]
"""Trained networks that a recipe needs, by name."""

LABEL_DROPOUT = 0.15
"""Share of the rows whose label the conditional denoisers are not told."""
SMOOTHING = 0.1
JACOBIAN_WEIGHT = 0.01
MAGNITUDE = 0.01
"""Weight of the squared energies in energy-based training: without it energies drift, and short trainings diverge."""
TIMED_RADIUS = 0.5
"""L2 radius of the robust time-dependent classifier: the paper's."""
RADII = {"robust_r0": 0.0, "robust_r025": 0.25, "robust_r05": 0.5, "robust": 1.0}
"""L2 radii of the off-the-shelf classifiers for images in [0, 1], as the thesis counts; in [-1, 1] they are twice that."""


@dataclass(frozen=True)
class Recipe:
    """What is built, what it minimises, on which batches, and for how long.

    Args:
        build: Makes the network, freshly initialised.
        loss: Makes what is minimised, from the networks it needs.
        settings: Loop settings by budget: ``small`` for two CPU cores, ``full`` for an accelerator.
        says: What the loss is, in words, for the weight file.
        batches: Which rows a batch is made of.
        needs: Networks that must be trained before, whose weights must lie in the same folder.
        weight: Weight of the part of the loss that stands beside cross-entropy; None where there is no such part.
        about: Settings of the recipe that are not in the loop settings, for the weight file.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Needed], Loss]
    settings: Mapping[Budget, LoopSettings]
    says: str
    batches: Batches = "labelled"
    needs: tuple[str, ...] = ()
    weight: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def recipes_for(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the recipes of a testbed in the order they are run: the judge is first, as the references are its features."""
    return {
        **_judges(images, size),
        **_denoisers(images, size),
        **_timed(images, size),
        **_off_the_shelf(images, size),
        **_mixtures(images, size),
    }


def _judges(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the bank of judges, four architectures that share nothing with the guides."""
    classes, (channels, height, _) = images.num_classes, images.event_shape

    def judge(build: Callable[[], nn.Module], kind: str) -> Recipe:
        return Recipe(
            build=build,
            loss=lambda _: shifted_cross_entropy(shift=size.shift, smoothing=0.05),
            settings=size.settings("judge"),
            says=f"cross-entropy, label smoothing 0.05, shifts of up to {size.shift} pixels",
            about={"kind": kind},
        )

    return {
        "judge": judge(
            lambda: Judge(channels=size.judge_channels, num_classes=classes, image_channels=channels),
            "plain convolutions",
        ),
        "judge_residual": judge(lambda: ResidualJudge(num_classes=classes, image_channels=channels), "residual"),
        "judge_depthwise": judge(
            lambda: DepthwiseJudge(num_classes=classes, image_channels=channels), "depthwise convolutions"
        ),
        "judge_mixer": judge(
            lambda: MixerJudge(image_size=height, patch=size.patch, num_classes=classes, image_channels=channels),
            "MLP-mixer",
        ),
    }


def _denoisers(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the denoiser and the conditional ones."""
    process, channels = images.process, images.event_shape[0]

    def conditional(batches: Batches) -> Recipe:
        return Recipe(
            build=lambda: UNet(
                image_channels=channels,
                channels=size.denoiser_channels,
                blocks=2,
                num_classes=images.num_classes,
                velocity=process.schedule,
            ),
            loss=lambda _: conditional_noise_prediction(process, dropout=LABEL_DROPOUT),
            settings=size.settings("denoiser"),
            says=f"mean squared error of the velocity, t uniform, {LABEL_DROPOUT:.0%} of the labels dropped",
            batches=batches,
        )

    return {
        "denoiser": Recipe(
            build=lambda: UNet(
                image_channels=channels, channels=size.denoiser_channels, blocks=2, velocity=process.schedule
            ),
            loss=lambda _: noise_prediction(process),
            settings=size.settings("denoiser"),
            says="mean squared error of the velocity, t uniform",
            batches="all",
        ),
        "conditional": conditional("labelled"),
        "conditional_all": conditional("both"),
    }


def _timed(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the classifiers of noisy images."""
    process = images.process

    def timed(
        loss: Callable[[Needed], Loss],
        says: str,
        *,
        kind: Kind = "regularised",
        batches: Batches = "labelled",
        needs: tuple[str, ...] = (),
    ) -> Recipe:
        return Recipe(
            build=lambda: TimeDependentClassifier(
                num_classes=images.num_classes, image_channels=images.event_shape[0], channels=size.guide_channels
            ),
            loss=loss,
            settings=size.settings(kind),
            says=says,
            batches=batches,
            needs=needs,
        )

    def robust(norm: Norm, radius: float) -> Recipe:
        return timed(
            lambda _: noisy_adversarial_cross_entropy(process, radius=radius, norm=norm),
            f"cross-entropy on noisy images under PGD of at most 7 steps, {norm} radius {radius:g} in units of [-1, 1]",
        )

    calibrated = f"cross-entropy and {size.calibration:g} of self-calibration"

    def buffer() -> ReplayBuffer:
        return ReplayBuffer(images.event_shape, size=size.buffer, restart=0.05, gaussian=True)

    return {
        "time_dependent": timed(
            lambda _: noisy_cross_entropy(process), "cross-entropy on noisy images, t uniform", kind="timed"
        ),
        "label_smoothing": timed(
            lambda _: noisy_cross_entropy(process, smoothing=SMOOTHING),
            f"cross-entropy with label smoothing {SMOOTHING:g}",
            kind="timed",
        ),
        "jacobian": timed(
            lambda _: jacobian_regularised(process, weight=JACOBIAN_WEIGHT),
            f"cross-entropy and {JACOBIAN_WEIGHT:g}/2 of the squared norm of the Jacobian",
        ),
        "self_calibrated": timed(
            lambda _: self_calibrated(process, weight=size.calibration), f"{calibrated} on labelled data"
        ),
        "self_calibrated_all": timed(
            lambda _: self_calibrated(process, weight=size.calibration), f"{calibrated} on all data", batches="both"
        ),
        "dlsm": timed(
            lambda needed: denoising_likelihood_score_matching(process, needed["denoiser"], weight=size.calibration),
            f"cross-entropy and {size.calibration:g} of denoising likelihood score matching",
            needs=("denoiser",),
        ),
        "timed_jem": timed(
            lambda _: TimedJointEnergy(process, buffer(), weight=0.1, magnitude=MAGNITUDE),
            f"cross-entropy and 0.1 of the energy-based loss at the chains' timesteps, {MAGNITUDE:g} of squared energies",
            kind="energy",
        ),
        "robust_time": robust("l2", TIMED_RADIUS),
        "robust_time_linf": robust("linf", size.linf_radius),
    }


def _off_the_shelf(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the classifiers of clean images: adversarially trained, and energy-based."""
    build = _encoder_of(OffTheShelfClassifier, images, size)

    def robust(radius: float) -> Recipe:
        attack = f"under 5-step L2 PGD, radius {2 * radius:g} in units of [-1, 1]" if radius else "on clean images"
        return Recipe(
            build=build,
            loss=lambda _: adversarial_cross_entropy(radius=2 * radius, num_steps=5),
            settings=size.settings("robust"),
            says=f"cross-entropy {attack}",
            about={"radius_l2": 2 * radius},
        )

    return {
        **{name: robust(radius) for name, radius in RADII.items()},
        "jem": Recipe(
            build=build,
            loss=lambda _: JointEnergy(
                ReplayBuffer(images.event_shape, size=size.buffer, restart=0.05), magnitude=MAGNITUDE
            ),
            settings=size.settings("energy"),
            says=f"cross-entropy and the energy-based loss by 20 Langevin steps, {MAGNITUDE:g} of squared energies",
        ),
    }


def _mixtures(images: ImageSet, size: Size) -> dict[str, Recipe]:
    """Return the max-Mahalanobis classifiers."""
    build = _encoder_of(MaxMahalanobisClassifier, images, size)

    def generative(targets: Targets, *, joint: bool = False) -> Recipe:
        def loss(_: Needed) -> Loss:
            return GenerativeMaxMahalanobis(
                ReplayBuffer(images.event_shape, size=size.buffer, restart=0.025),
                num_classes=images.num_classes,
                targets=targets,
                pretrain=size.settings("energy")["small"].num_steps // 3 if joint else 0,
                magnitude=MAGNITUDE,
            )

        return Recipe(
            build=build,
            loss=loss,
            settings=size.settings("energy"),
            says=f"generative, {targets} targets, {MAGNITUDE:g} of squared energies"
            + (", after discriminative training" if joint else ""),
        )

    return {
        "gmmc_discriminative": Recipe(
            build=build,
            loss=lambda _: center_regression(),
            settings=size.settings("robust"),
            says="squared distance of the features to their class' centre",
        ),
        "gmmc_generative": generative("staged"),
        "gmmc_noise_injected": generative("noise-injected"),
        "gmmc_joint": generative("staged", joint=True),
    }


def _encoder_of(
    kind: type[OffTheShelfClassifier] | type[MaxMahalanobisClassifier], images: ImageSet, size: Size
) -> Callable[[], nn.Module]:
    """Return what builds a classifier of clean images."""
    return lambda: kind(
        num_classes=images.num_classes,
        image_channels=images.event_shape[0],
        channels=size.guide_channels,
        image_size=images.event_shape[1],
        feature_dim=64,
    )
