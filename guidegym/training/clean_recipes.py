"""Recipes of clean-image classifiers: adversarially trained, energy-based, and mixtures."""

from collections.abc import Callable

from torch import nn

from guidegym.networks import (
    MaxMahalanobisClassifier,
    OffTheShelfClassifier,
)
from guidegym.training.adversarial import adversarial_cross_entropy
from guidegym.training.energy_based import JointEnergyLoss
from guidegym.training.loss import Loss
from guidegym.training.mixtures import GenerativeMaxMahalanobis, Targets, center_regression
from guidegym.training.recipe import Needed, Plan, Recipe
from guidegym.training.replay import ReplayBuffer

JOINT_MAGNITUDE, MIXTURE_MAGNITUDE = 0.1, 0.02
"""Weights of the squared energies: with less, energies of data and chains drift apart, and chains never reach the data."""
FEATURES = 64
"""Length of the features of clean-image classifiers."""
RADII = {"robust_r0": 0.0, "robust_r025": 0.25, "robust_r05": 0.5, "robust": 1.0}
"""L2 radii of the off-the-shelf classifiers for images in [0, 1], as in the thesis; in [-1, 1] they are twice as large."""


def off_the_shelf(plan: Plan) -> dict[str, Recipe]:
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
                num_classes=images.num_classes,
                weight=energy,
                magnitude=JOINT_MAGNITUDE,
            ),
            settings=plan.budget["energy"],
            says=f"cross-entropy and {energy:g} of the energy-based loss by 20 Langevin steps of a class, "
            f"{JOINT_MAGNITUDE:g} of squared energies",
            weight=energy,
        ),
    }


def mixtures(plan: Plan) -> dict[str, Recipe]:
    """Return the max-Mahalanobis classifiers."""
    images, settings = plan.images, plan.budget["energy"]

    def generative(targets: Targets, *, joint: bool = False) -> Recipe:
        def loss(_: Needed) -> Loss:
            return GenerativeMaxMahalanobis(
                ReplayBuffer(images.event_shape, size=plan.size.buffer, restart=0.025),
                num_classes=images.num_classes,
                targets=targets,
                pretrain=settings.num_steps // 3 if joint else 0,
                magnitude=MIXTURE_MAGNITUDE,
            )

        return Recipe(
            build=_encoder_of(MaxMahalanobisClassifier, plan, density=True),
            loss=loss,
            settings=settings,
            says=f"generative, {targets} targets, {MIXTURE_MAGNITUDE:g} of squared energies"
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
    kind: type[OffTheShelfClassifier] | type[MaxMahalanobisClassifier], plan: Plan, *, density: bool = False
) -> Callable[[], nn.Module]:
    """Return a builder of a clean-image classifier, optionally one whose energy defines a density."""
    return lambda: kind(
        num_classes=plan.images.num_classes,
        image_channels=plan.images.event_shape[0],
        channels=plan.size.guide_channels,
        image_size=plan.images.event_shape[1],
        feature_dim=max(FEATURES, plan.images.num_classes - 1),  # centres need as many dimensions as classes less one
        density=density,
    )
