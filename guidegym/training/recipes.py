"""How each network is trained: architecture, loss, batches and budget, one record a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from guidegym.attacks.pgd import Norm
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
from guidegym.networks.noise_levels import process_name
from guidegym.testbeds.images import ImageSet
from guidegym.training.adversarial import adversarial_cross_entropy, noisy_adversarial_cross_entropy
from guidegym.training.cross_entropy import noisy_cross_entropy, shifted_cross_entropy
from guidegym.training.denoising import conditional_noise_prediction, noise_prediction
from guidegym.training.dlsm import denoising_likelihood_score_matching
from guidegym.training.energy_based import JointEnergyLoss, TimedJointEnergyLoss
from guidegym.training.jacobian import jacobian_regularised
from guidegym.training.loss import Loss
from guidegym.training.max_mahalanobis import GenerativeMaxMahalanobis, Targets, center_regression
from guidegym.training.replay import ReplayBuffer
from guidegym.training.self_calibration import self_calibrated
from guidegym.training.sizes import Budget, Kind, Size
from guidegym.training.train import TrainingSettings

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
JOINT_MAGNITUDE = 0.1
"""The same for images without noise: with less the energies of data and of chains part, and chains never come near the data."""
TIMED_ENERGY_WEIGHT = 0.1
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
        settings: Loop settings of the budget.
        says: What the loss is, in words, for the weight file.
        batches: Which rows a batch is made of.
        needs: Networks that must be trained before, whose weights must lie in the same folder.
        weight: Weight of the part of the loss that stands beside cross-entropy; None where there is no such part.
        about: Settings of the recipe that are not in the loop settings, for the weight file.
    """

    build: Callable[[], nn.Module]
    loss: Callable[[Needed], Loss]
    settings: TrainingSettings
    says: str
    batches: Batches = "labelled"
    needs: tuple[str, ...] = ()
    weight: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """What the recipes of a testbed are made from: its images, sizes, the loop settings of a budget, and a weight asked for."""

    images: ImageSet
    size: Size
    budget: Mapping[Kind, TrainingSettings]
    weight: float | None

    def weighed(self, own: float) -> float:
        """Return the weight of a part of a loss: the one asked for, or its own."""
        return own if self.weight is None else self.weight


def recipes_for(
    images: ImageSet, size: Size, *, budget: Budget = "small", weight: float | None = None
) -> dict[str, Recipe]:
    """Return the recipes of a testbed in the order they are run: the judge is first, as the references are its features.

    Args:
        images: What the testbed is made of.
        size: Sizes and budgets.
        budget: ``small`` for two CPU cores, ``full`` for an accelerator.
        weight: Weight of what stands beside cross-entropy, in recipes that have such a part; None for each one's own.
    """
    plan = _Plan(images, size, size.budgets[budget], weight)
    return {**_judges(plan), **_denoisers(plan), **_timed(plan), **_off_the_shelf(plan), **_mixtures(plan)}


def _judges(plan: _Plan) -> dict[str, Recipe]:
    """Return the bank of judges, four architectures that share nothing with the guides."""
    images, size = plan.images, plan.size
    classes, (channels, height, _) = images.num_classes, images.event_shape

    def judge(build: Callable[[], nn.Module], kind: str) -> Recipe:
        return Recipe(
            build=build,
            loss=lambda _: shifted_cross_entropy(shift=size.shift, smoothing=0.05),
            settings=plan.budget["judge"],
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


def _denoisers(plan: _Plan) -> dict[str, Recipe]:
    """Return the denoiser and the conditional ones."""
    images, size = plan.images, plan.size
    process, channels = images.process, images.event_shape[0]

    def conditional(batches: Batches) -> Recipe:
        return Recipe(
            build=lambda: UNet(
                image_channels=channels,
                channels=size.denoiser_channels,
                blocks=2,
                num_classes=images.num_classes,
                velocity=process_name(process),
            ),
            loss=lambda _: conditional_noise_prediction(process, dropout=LABEL_DROPOUT),
            settings=plan.budget["denoiser"],
            says=f"mean squared error of the velocity, t uniform, {LABEL_DROPOUT:.0%} of the labels dropped",
            batches=batches,
        )

    return {
        "denoiser": Recipe(
            build=lambda: UNet(
                image_channels=channels, channels=size.denoiser_channels, blocks=2, velocity=process_name(process)
            ),
            loss=lambda _: noise_prediction(process),
            settings=plan.budget["denoiser"],
            says="mean squared error of the velocity, t uniform",
            batches="all",
        ),
        "conditional": conditional("labelled"),
        "conditional_all": conditional("both"),
    }


def _timed(plan: _Plan) -> dict[str, Recipe]:
    """Return the classifiers of noisy images: all see as many labelled images, in as many updates."""
    images, size, process = plan.images, plan.size, plan.images.process

    def timed(
        loss: Callable[[Needed], Loss],
        says: str,
        *,
        density: bool = False,
        batches: Batches = "labelled",
        needs: tuple[str, ...] = (),
        weight: float | None = None,
    ) -> Recipe:
        return Recipe(
            build=lambda: TimeDependentClassifier(
                num_classes=images.num_classes,
                image_channels=images.event_shape[0],
                channels=size.guide_channels,
                process=process_name(process),
                energy=density,
            ),
            loss=loss,
            settings=plan.budget["timed"],
            says=says,
            batches=batches,
            needs=needs,
            weight=weight,
        )

    def robust(norm: Norm, radius: float) -> Recipe:
        return timed(
            lambda _: noisy_adversarial_cross_entropy(process, radius=radius, norm=norm),
            f"cross-entropy on noisy images under PGD of at most 7 steps, {norm} radius {radius:g} in units of [-1, 1]",
        )

    def buffer() -> ReplayBuffer:
        return ReplayBuffer(images.event_shape, size=size.buffer, restart=0.05, gaussian=True)

    slope, score, energy = map(plan.weighed, (JACOBIAN_WEIGHT, size.calibration, TIMED_ENERGY_WEIGHT))

    def calibrated(batches: Batches, where: str) -> Recipe:
        return timed(
            lambda _: self_calibrated(process, weight=score),
            f"cross-entropy and {score:g} of self-calibration on {where} data",
            density=True,
            batches=batches,
            weight=score,
        )

    return {
        "time_dependent": timed(lambda _: noisy_cross_entropy(process), "cross-entropy on noisy images, t uniform"),
        "label_smoothing": timed(
            lambda _: noisy_cross_entropy(process, smoothing=SMOOTHING),
            f"cross-entropy with label smoothing {SMOOTHING:g}",
        ),
        "jacobian": timed(
            lambda _: jacobian_regularised(process, weight=slope),
            f"cross-entropy and {slope:g}/2 of the squared norm of the Jacobian",
            weight=slope,
        ),
        "self_calibrated": calibrated("labelled", "labelled"),
        "self_calibrated_all": calibrated("both", "all"),
        "dlsm": timed(
            lambda needed: denoising_likelihood_score_matching(process, needed["denoiser"], weight=score),
            f"cross-entropy and {score:g} of denoising likelihood score matching",
            needs=("denoiser",),
            weight=score,
        ),
        "timed_jem": timed(
            lambda _: TimedJointEnergyLoss(process, buffer(), weight=energy, magnitude=MAGNITUDE),
            f"cross-entropy and {energy:g} of the energy-based loss at the chains' timesteps, "
            f"{MAGNITUDE:g} of squared energies",
            density=True,
            weight=energy,
        ),
        "robust_time": robust("l2", TIMED_RADIUS),
        "robust_time_linf": robust("linf", size.linf_radius),
    }


def _off_the_shelf(plan: _Plan) -> dict[str, Recipe]:
    """Return the classifiers of clean images: adversarially trained, and energy-based."""
    images, energy = plan.images, plan.weighed(1.0)

    def robust(radius: float) -> Recipe:
        attack = f"under 5-step L2 PGD, radius {2 * radius:g} in units of [-1, 1]" if radius else "on clean images"
        return Recipe(
            build=_encoder_of(OffTheShelfClassifier, plan),
            loss=lambda _: adversarial_cross_entropy(radius=2 * radius, num_steps=5),
            settings=plan.budget["robust"],
            says=f"cross-entropy {attack}",
            about={"radius_l2": 2 * radius},
        )

    return {
        **{name: robust(radius) for name, radius in RADII.items()},
        "jem": Recipe(
            build=_encoder_of(OffTheShelfClassifier, plan, density=True),
            loss=lambda _: JointEnergyLoss(
                ReplayBuffer(images.event_shape, size=plan.size.buffer, restart=0.05),
                weight=energy,
                magnitude=MAGNITUDE,
            ),
            settings=plan.budget["energy"],
            says=f"cross-entropy and {energy:g} of the energy-based loss by 20 Langevin steps of a class, "
            f"{JOINT_MAGNITUDE:g} of squared energies",
            weight=energy,
        ),
    }


def _mixtures(plan: _Plan) -> dict[str, Recipe]:
    """Return the max-Mahalanobis classifiers."""
    images, settings = plan.images, plan.budget["energy"]

    def generative(targets: Targets, *, joint: bool = False) -> Recipe:
        def loss(_: Needed) -> Loss:
            return GenerativeMaxMahalanobis(
                ReplayBuffer(images.event_shape, size=plan.size.buffer, restart=0.025),
                num_classes=images.num_classes,
                targets=targets,
                pretrain=settings.num_steps // 3 if joint else 0,
                magnitude=MAGNITUDE,
            )

        return Recipe(
            build=_encoder_of(MaxMahalanobisClassifier, plan, density=True),
            loss=loss,
            settings=settings,
            says=f"generative, {targets} targets, {MAGNITUDE:g} of squared energies"
            + (", after discriminative training" if joint else ""),
        )

    return {
        "gmmc_discriminative": Recipe(
            build=_encoder_of(MaxMahalanobisClassifier, plan),
            loss=lambda _: center_regression(),
            settings=plan.budget["robust"],
            says="squared distance of the features to their class' centre",
        ),
        "gmmc_generative": generative("staged"),
        "gmmc_noise_injected": generative("noise-injected"),
        "gmmc_joint": generative("staged", joint=True),
    }


def _encoder_of(
    kind: type[OffTheShelfClassifier] | type[MaxMahalanobisClassifier], plan: _Plan, *, density: bool = False
) -> Callable[[], nn.Module]:
    """Return what builds a classifier of clean images, or one whose energy is that of a density of images."""
    return lambda: kind(
        num_classes=plan.images.num_classes,
        image_channels=plan.images.event_shape[0],
        channels=plan.size.guide_channels,
        image_size=plan.images.event_shape[1],
        feature_dim=64,
        density=density,
    )
