"""Recipes of noisy-image classifiers."""

from collections.abc import Callable

from guidegym.attacks.pgd import Norm
from guidegym.networks import (
    TimeDependentClassifier,
)
from guidegym.networks.noise_levels import process_name
from guidegym.training.adversarial import noisy_adversarial_cross_entropy
from guidegym.training.cross_entropy import noisy_cross_entropy
from guidegym.training.dlsm import denoising_likelihood_score_matching
from guidegym.training.energy_based import TimedJointEnergyLoss
from guidegym.training.jacobian import jacobian_regularised
from guidegym.training.loss import Loss
from guidegym.training.recipe import Batches, Needed, Plan, Recipe
from guidegym.training.replay import ReplayBuffer
from guidegym.training.self_calibration import self_calibrated

SMOOTHING = 0.1
JACOBIAN_WEIGHT = 0.01
MAGNITUDE = 0.01
"""Weight of the squared energies in energy-based training: without it energies drift, and short trainings diverge."""
TIMED_ENERGY_WEIGHT = 0.1
TIMED_RADIUS = 0.5
"""L2 radius of the robust time-dependent classifier: the paper's."""


def timed(plan: Plan) -> dict[str, Recipe]:
    """Return the classifiers of noisy images: all with equally many labelled images and updates."""
    images, size, process = plan.images, plan.size, plan.images.process

    def classifier(
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
        return classifier(
            lambda _: noisy_adversarial_cross_entropy(process, radius=radius, norm=norm),
            f"cross-entropy on noisy images under PGD of at most 7 steps, {norm} radius {radius:g} in units of [-1, 1]",
        )

    def buffer() -> ReplayBuffer:
        return ReplayBuffer(images.event_shape, size=size.buffer, restart=0.05, gaussian=True)

    slope, score, energy = map(plan.weighed, (JACOBIAN_WEIGHT, size.calibration, TIMED_ENERGY_WEIGHT))

    def calibrated(batches: Batches, where: str) -> Recipe:
        return classifier(
            lambda _: self_calibrated(process, weight=score),
            f"cross-entropy and {score:g} of self-calibration on {where} data",
            density=True,
            batches=batches,
            weight=score,
        )

    return {
        "time_dependent": classifier(
            lambda _: noisy_cross_entropy(process), "cross-entropy on noisy images, t uniform"
        ),
        "label_smoothing": classifier(
            lambda _: noisy_cross_entropy(process, smoothing=SMOOTHING),
            f"cross-entropy with label smoothing {SMOOTHING:g}",
        ),
        "jacobian": classifier(
            lambda _: jacobian_regularised(process, weight=slope),
            f"cross-entropy and {slope:g}/2 of the squared norm of the Jacobian",
            weight=slope,
        ),
        "self_calibrated": calibrated("labelled", "labelled"),
        "self_calibrated_all": calibrated("both", "all"),
        "dlsm": classifier(
            lambda needed: denoising_likelihood_score_matching(process, needed["denoiser"], weight=score),
            f"cross-entropy and {score:g} of denoising likelihood score matching",
            needs=("denoiser",),
            weight=score,
        ),
        "timed_jem": classifier(
            lambda _: TimedJointEnergyLoss(process, buffer(), weight=energy, magnitude=MAGNITUDE),
            f"cross-entropy and {energy:g} of the energy-based loss at the chains' timesteps, "
            f"{MAGNITUDE:g} of squared energies",
            density=True,
            weight=energy,
        ),
        "robust_time": robust("l2", TIMED_RADIUS),
        "robust_time_linf": robust("linf", size.linf_radius),
    }
