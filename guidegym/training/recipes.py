"""The recipes of all networks: architecture, loss, batches and budget, one record per network."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from guidegym.networks import (
    DepthwiseJudge,
    Judge,
    MixerJudge,
    ResidualJudge,
    UNet,
)
from guidegym.networks.noise_levels import process_name
from guidegym.support.text_encoder import MINILM, MINILM_DIM, embed
from guidegym.testbeds.images import ImageSet
from guidegym.training.clean_recipes import mixtures, off_the_shelf
from guidegym.training.cross_entropy import shifted_cross_entropy
from guidegym.training.denoising import conditional_noise_prediction, noise_prediction, text_noise_prediction
from guidegym.training.noisy_recipes import timed
from guidegym.training.recipe import Batches, Plan, Recipe
from guidegym.training.sizes import Budget, Size

LABEL_DROPOUT = 0.15
"""Share of rows whose label is dropped for the conditional denoisers."""


def recipes_for(
    images: ImageSet,
    size: Size,
    *,
    budget: Budget = "small",
    weight: float | None = None,
    num_steps: int | None = None,
) -> dict[str, Recipe]:
    """Return the recipes of a testbed in training order: the judge is first, as the references are its features.

    Args:
        images: The testbed's images.
        size: Sizes and budgets.
        budget: ``small`` for two CPU cores, ``full`` for an accelerator.
        weight: Weight of the loss term added to cross-entropy, in recipes with such a term; None for each recipe's own.
        num_steps: Optimiser steps of every recipe; None for those of the budget.
    """
    plan = Plan(images, size, size.settings(budget, num_steps), weight)
    return {**_judges(plan), **_denoisers(plan), **timed(plan), **off_the_shelf(plan), **mixtures(plan)}


def _judges(plan: Plan) -> dict[str, Recipe]:
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


def _embedded(texts: Sequence[Sequence[str]]) -> Float[Tensor, " classes texts dim"]:
    """Return the embeddings of the texts of each class."""
    flat = embed([text for own in texts for text in own], MINILM)
    return flat.reshape(len(texts), len(texts[0]), -1)


def _denoisers(plan: Plan) -> dict[str, Recipe]:
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

    def text() -> Recipe:
        return Recipe(
            build=lambda: UNet(
                image_channels=channels,
                channels=size.denoiser_channels,
                blocks=2,
                text_dim=MINILM_DIM,
                velocity=process_name(process),
            ),
            loss=lambda _: text_noise_prediction(process, _embedded(images.texts), dropout=LABEL_DROPOUT),
            settings=plan.budget["denoiser"],
            says=f"mean squared error of the velocity, t uniform, one of {len(images.texts[0])} texts per class, "
            f"{LABEL_DROPOUT:.0%} of them dropped",
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
        **({"text": text()} if images.texts else {}),
    }
