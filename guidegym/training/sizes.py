"""The testbed-specific sizes of networks and lengths of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from guidegym.training.train import TrainingSettings

Budget = Literal["small", "full"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
Kind = Literal["judge", "denoiser", "timed", "robust", "energy"]
"""``timed``: all noisy-image classifiers; ``robust``: clean-image ones; ``energy``: those of them with chains."""


@dataclass(frozen=True)
class Size:
    """Sizes and budgets of one testbed.

    Args:
        judge_channels: Channels of the judge at its three resolutions.
        denoiser_channels: Channels of the denoisers at their two resolutions.
        guide_channels: Channels of the guides' encoders at their two resolutions.
        patch: Patch size of the mixer judge.
        shift: Maximum shift of the judges' training images in pixels.
        buffer: Samples in the replay buffer of energy-based training.
        calibration: Weight of self-calibration and of likelihood score matching; their losses sum over pixels.
        linf_radius: Linf radius of a robust time-dependent classifier, in units of [-1, 1].
        budgets: Loop settings by budget and by kind of network.
    """

    judge_channels: tuple[int, int, int]
    denoiser_channels: tuple[int, int]
    guide_channels: tuple[int, int]
    patch: int
    shift: int
    buffer: int
    calibration: float
    linf_radius: float
    budgets: Mapping[Budget, Mapping[Kind, TrainingSettings]]

    def settings(self, budget: Budget, num_steps: int | None = None) -> Mapping[Kind, TrainingSettings]:
        """Return the loop settings of a budget, or of a training of another length.

        The warm-up and the averaging of the weights then take the same share of the steps, so that a quick trial has both.
        """
        own = self.budgets[budget]
        return own if num_steps is None else {kind: _lasting(one, num_steps) for kind, one in own.items()}


def _lasting(settings: TrainingSettings, num_steps: int) -> TrainingSettings:
    ratio = settings.num_steps / num_steps
    return replace(
        settings,
        num_steps=num_steps,
        warmup=math.ceil(settings.warmup / ratio) if ratio > 1 else settings.warmup,
        ema_decay=max(1 - (1 - settings.ema_decay) * ratio, 0.0) if settings.ema_decay else 0.0,
    )


FASHION_SIZE = Size(
    judge_channels=(32, 64, 128),
    denoiser_channels=(64, 128),
    guide_channels=(48, 96),
    patch=4,
    shift=2,
    buffer=10_000,
    calibration=0.01,
    linf_radius=0.05,
    budgets={
        "small": {
            "judge": TrainingSettings(num_steps=3_750, batch_size=128, learning_rate=3e-3, weight_decay=0.02),
            "denoiser": TrainingSettings(
                num_steps=6_000, batch_size=128, learning_rate=1.5e-3, ema_decay=0.999, half_precision=True
            ),
            "timed": TrainingSettings(
                num_steps=2_000, batch_size=64, learning_rate=2e-3, weight_decay=0.01, ema_decay=0.995, half_precision=True
            ),
            "robust": TrainingSettings(num_steps=2_000, batch_size=64, learning_rate=1.5e-3, weight_decay=0.01, ema_decay=0.99),
            "energy": TrainingSettings(num_steps=2_000, batch_size=64, learning_rate=3e-4, ema_decay=0.99),
        },
        "full": {
            "judge": TrainingSettings(num_steps=14_000, batch_size=128, learning_rate=3e-3, weight_decay=0.05),
            "denoiser": TrainingSettings(num_steps=60_000, batch_size=256, learning_rate=1e-3, ema_decay=0.9995),
            "timed": TrainingSettings(num_steps=28_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999),
            "robust": TrainingSettings(num_steps=14_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999),
            "energy": TrainingSettings(num_steps=30_000, batch_size=64, learning_rate=1e-4, ema_decay=0.999),
        },
    },
)  # fmt: skip


def _digits(times: int, num_steps: int, learning_rate: float, *, ema_decay: float = 0.0) -> TrainingSettings:
    """Return the digits' settings with training ``times`` as long."""
    return TrainingSettings(
        num_steps=num_steps * times,
        batch_size=64,
        learning_rate=learning_rate,
        warmup=min(num_steps // 5, 200),
        weight_decay=0.01,
        ema_decay=ema_decay,
    )


def _digits_budget(times: int) -> dict[Kind, TrainingSettings]:
    return {
        "judge": _digits(times, 400, 5e-3),
        "denoiser": _digits(times, 1200, 2e-3, ema_decay=0.995),
        "timed": _digits(times, 700, 4e-3, ema_decay=0.98),
        "robust": _digits(times, 700, 3e-3, ema_decay=0.98),
        "energy": _digits(times, 700, 5e-4, ema_decay=0.98),
    }


DIGITS_SIZE = Size(
    judge_channels=(16, 32, 32),
    denoiser_channels=(32, 64),
    guide_channels=(24, 48),
    patch=2,
    shift=1,
    buffer=1_000,
    calibration=0.1,
    linf_radius=0.1,
    budgets={"small": _digits_budget(1), "full": _digits_budget(5)},
)
SIZES = {"fashion": FASHION_SIZE, "digits": DIGITS_SIZE, "digits-trained-ve": DIGITS_SIZE, "digits-words": DIGITS_SIZE}

SMALL = 20
"""Images below this height have the networks and budgets of the digits, others those of Fashion-MNIST."""
VALUES = 28 * 28
"""Values of an image of Fashion-MNIST."""


def size_for(event_shape: tuple[int, int, int]) -> Size:
    """Return sizes and budgets for images of a user's own: the digits' or Fashion-MNIST's, with what depends on the image size.

    The replay buffer has as many values as Fashion-MNIST's, the loss weights that multiply sums over pixels fall with their
    number, and shifts are the same share of the height. These are starting points; only the two shipped testbeds' were tuned.

    Args:
        event_shape: Channels, height and width, a multiple of 4.
    """
    values, height = math.prod(event_shape), event_shape[1]
    record = DIGITS_SIZE if height < SMALL else FASHION_SIZE
    return replace(
        record,
        shift=max(height // 14, 1),
        buffer=min(record.buffer, max(FASHION_SIZE.buffer * VALUES // values, 500)),
        calibration=float(f"{FASHION_SIZE.calibration * VALUES / values:.1g}"),
    )
