"""How large the networks of a testbed are and how long they are trained: what differs between testbeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from guidegym.training.loop import LoopSettings

Budget = Literal["small", "full"]
Kind = Literal["judge", "denoiser", "timed", "regularised", "robust", "energy"]
"""``regularised`` are classifiers of noisy images whose step costs several of cross-entropy's."""


@dataclass(frozen=True)
class Size:
    """Sizes and budgets of one testbed.

    Args:
        judge_channels: Channels of the judge at its three resolutions.
        denoiser_channels: Channels of the denoisers at their two.
        guide_channels: Channels of the guides' encoders at their two.
        patch: Patch of the mixer among the judges.
        shift: Pixels that the judges' training images are moved by at most.
        buffer: Samples in the replay buffer of energy-based training.
        calibration: Weight of self-calibration and of likelihood score matching; their losses sum over pixels.
        linf_radius: Linf radius of a robust time-dependent classifier, in units of [-1, 1].
        budgets: Loop settings by kind of network and by budget.
    """

    judge_channels: tuple[int, int, int]
    denoiser_channels: tuple[int, int]
    guide_channels: tuple[int, int]
    patch: int
    shift: int
    buffer: int
    calibration: float
    linf_radius: float
    budgets: Mapping[Kind, Mapping[Budget, LoopSettings]]

    def settings(self, kind: Kind) -> Mapping[Budget, LoopSettings]:
        """Return the loop settings of a kind of network by budget."""
        return self.budgets[kind]


FASHION = Size(
    judge_channels=(32, 64, 128),
    denoiser_channels=(64, 128),
    guide_channels=(48, 96),
    patch=4,
    shift=2,
    buffer=10_000,
    calibration=0.01,
    linf_radius=0.05,
    budgets={
        "judge": {
            "small": LoopSettings(num_steps=3_750, batch_size=128, learning_rate=3e-3, weight_decay=0.02),
            "full": LoopSettings(num_steps=14_000, batch_size=128, learning_rate=3e-3, weight_decay=0.05),
        },
        "denoiser": {
            "small": LoopSettings(num_steps=12_000, batch_size=128, learning_rate=1.5e-3, ema_decay=0.999, half_precision=True),
            "full": LoopSettings(num_steps=60_000, batch_size=256, learning_rate=1e-3, ema_decay=0.9995),
        },
        "timed": {
            "small": LoopSettings(num_steps=4_680, batch_size=128, learning_rate=2e-3, weight_decay=0.01, ema_decay=0.995),
            "full": LoopSettings(num_steps=28_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999),
        },
        "regularised": {
            "small": LoopSettings(num_steps=3_000, batch_size=64, learning_rate=3e-3, weight_decay=0.01, ema_decay=0.995),
            "full": LoopSettings(num_steps=28_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999),
        },
        "robust": {
            "small": LoopSettings(num_steps=2_000, batch_size=64, learning_rate=1.5e-3, weight_decay=0.01, ema_decay=0.99),
            "full": LoopSettings(num_steps=14_000, batch_size=128, learning_rate=2e-3, weight_decay=0.05, ema_decay=0.999),
        },
        "energy": {
            "small": LoopSettings(num_steps=1_000, batch_size=64, learning_rate=3e-4, ema_decay=0.99),
            "full": LoopSettings(num_steps=30_000, batch_size=64, learning_rate=1e-4, ema_decay=0.999),
        },
    },
)  # fmt: skip


def _digits(
    num_steps: int, learning_rate: float, *, batch_size: int = 64, ema_decay: float = 0.0
) -> dict[Budget, LoopSettings]:
    """Return settings of the digits: ``full`` is five times as long."""
    times: dict[Budget, int] = {"small": 1, "full": 5}
    return {
        budget: LoopSettings(
            num_steps=num_steps * factor,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=min(num_steps // 5, 200),
            weight_decay=0.01,
            ema_decay=ema_decay,
        )
        for budget, factor in times.items()
    }


DIGITS = Size(
    judge_channels=(16, 32, 32),
    denoiser_channels=(32, 64),
    guide_channels=(24, 48),
    patch=2,
    shift=1,
    buffer=1_000,
    calibration=0.3,
    linf_radius=0.1,
    budgets={
        "judge": _digits(400, 5e-3),
        "denoiser": _digits(1200, 2e-3, ema_decay=0.995),
        "timed": _digits(600, 3e-3, ema_decay=0.98),
        "regularised": _digits(700, 6e-3, ema_decay=0.98),
        "robust": _digits(400, 3e-3, ema_decay=0.98),
        "energy": _digits(250, 5e-4, batch_size=32, ema_decay=0.95),
    },
)
SIZES = {"fashion": FASHION, "digits": DIGITS}
