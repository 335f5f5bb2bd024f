"""The training loop: optimiser steps, with checkpoints from which an interrupted run resumes."""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from guidegym.errors import GuideGymError
from guidegym.support.checkpoint import Checkpoint, keep_on
from guidegym.support.settings import check_count, finite_number, plain_fields
from guidegym.testbeds.image_data import to_unit_range
from guidegym.training.loss import DivergedError, Loss


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training loop.

    Args:
        num_steps: Optimiser steps.
        batch_size: Images per step from each pool.
        learning_rate: Peak rate, reached after ``warmup`` steps, then decayed to zero along a cosine.
        warmup: Steps of linear warm-up.
        weight_decay: Decoupled weight decay of AdamW.
        ema_decay: Decay of the exponential moving average of the weights; 0 keeps the last weights.
        half_precision: Whether the network's matrix products are computed in bfloat16 where the device has instructions for
            it (emulation is many times slower than float32). Weights, sums and losses stay float32.
    """

    num_steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 200
    weight_decay: float = 0.0
    ema_decay: float = 0.0
    half_precision: bool = False

    def __post_init__(self) -> None:
        plain_fields(self)


@dataclass(frozen=True)
class TrainingResult:
    """The trained network, the number of optimiser steps, and the mean loss over the last 200 of them."""

    network: nn.Module
    num_steps: int
    final_loss: float


def seed_for(*parts: object) -> int:
    """Return a 63-bit seed that depends on all ``parts`` and on nothing else."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16: a CPU without them emulates it, ten times slower than float32."""
    if device.type != "cpu":
        return True
    # Older versions of torch do not tell what the CPU can do: float32 is always right.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@functools.lru_cache(maxsize=4)
def _epoch_order(epoch: int, num_images: int, seed: int, pool: int) -> Int[Tensor, " images"]:
    """Return the order of one epoch of one pool."""
    parts = (seed, "epoch", epoch) if pool == 0 else (seed, "epoch", epoch, pool)
    return torch.randperm(num_images, generator=torch.Generator().manual_seed(seed_for(*parts)))


def _batch_rows(step: int, *, num_images: int, batch_size: int, seed: int, pool: int) -> Int[Tensor, " batch"]:
    """Return a pool's rows of one step, a pure function of seed and step, so that a resumed run gets the same."""
    batches = num_images // batch_size
    epoch, position = divmod(step, batches)
    return _epoch_order(epoch, num_images, seed, pool)[position * batch_size : (position + 1) * batch_size]


@dataclass(frozen=True, eq=False)
class Pool:
    """Images that batches are drawn from, each once per epoch.

    Args:
        images: Training images, grey levels.
        labels: Their classes; -1 if hidden from the training.
    """

    images: UInt8[Tensor, " images *event"]
    labels: Int[Tensor, " images"]


class TrainingRun:
    """One network in training: optimiser, moving average, loss state, step count and their checkpoint."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        *,
        checkpoint: Path,
        seed: int,
        device: torch.device,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).train()
        self.loss = loss.to(device) if isinstance(loss, nn.Module) else loss
        self.settings = settings
        self.seed = seed
        self.device = device
        self.checkpoint = Checkpoint(checkpoint, {**asdict(settings), "seed": seed, **(identity or {})})
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average: AveragedModel | None = None
        if settings.ema_decay > 0:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        self.half_precision = settings.half_precision and _computes_bfloat16(device)
        self.step = 0
        self.recent_losses: list[float] = []

    def save(self) -> None:
        """Write the checkpoint."""
        self.checkpoint.save(
            {
                "step": self.step,
                "recent_losses": self.recent_losses,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict() if self.average is not None else {},
                "loss": self.loss.state_dict() if isinstance(self.loss, nn.Module) else {},
            }
        )

    def resume(self) -> bool:
        """Resume from the checkpoint if there is one of the same recipe, settings, seed and data; return whether.

        Raises:
            GuideGymError: If there is a checkpoint of another run: it is never overwritten silently.
            FileFormatError: If the checkpoint cannot be read.
        """
        return self.checkpoint.load(self._restore, device=self.device)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if isinstance(self.loss, nn.Module):
            self.loss.load_state_dict(state["loss"])
        self.step = check_count("step", state["step"], least=0)
        self.recent_losses = [finite_number("recent_losses", one) for one in state["recent_losses"]]

    def _learning_rate(self) -> float:
        """Return the rate of the current step: linear warm-up, then a cosine to zero."""
        settings = self.settings
        if self.step < settings.warmup:
            return settings.learning_rate * (self.step + 1) / settings.warmup
        progress = (self.step - settings.warmup) / max(settings.num_steps - settings.warmup, 1)
        return settings.learning_rate * 0.5 * (1 + math.cos(progress * math.pi))

    def _batch(self, pools: Sequence[Pool]) -> tuple[Tensor, Tensor]:
        """Return the images and labels of the current step, equally many from each pool."""
        batch_size = self.settings.batch_size
        images, labels = [], []
        for index, pool in enumerate(pools):
            rows = _batch_rows(
                self.step, num_images=len(pool.images), batch_size=batch_size, seed=self.seed, pool=index
            )
            rows = rows.to(pool.images.device)
            images.append(pool.images[rows].to(self.device))
            labels.append(pool.labels[rows].to(self.device))
        return to_unit_range(torch.cat(images)), torch.cat(labels)

    def train_step(self, pools: Sequence[Pool]) -> float:
        """Do one optimiser step on a batch with equally many images from each pool, and return its loss."""
        generator = torch.Generator(self.device).manual_seed(seed_for(self.seed, "noise", self.step))
        with (
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half_precision),
            # On small maps, plain products are faster than fused attention, whose backward pass is slow on CPU.
            sdpa_kernel(SDPBackend.MATH),
        ):
            value = self.loss(self.network, *self._batch(pools), generator)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.step += 1
        return float(value.detach())

    def result(self) -> TrainingResult:
        """Return the averaged weights if there is an average, else the last ones, ready for evaluation."""
        network: nn.Module = self.average.module if self.average is not None else self.network
        losses = self.recent_losses
        return TrainingResult(
            network=network.eval().requires_grad_(False),
            num_steps=self.step,
            final_loss=sum(losses) / max(len(losses), 1),
        )


def _healthy_step(run: TrainingRun, pools: Sequence[Pool], name: str) -> float:
    """Do one step; if it diverges, return to the last good checkpoint and report it."""
    try:
        value = run.train_step(pools)
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}")
    except DivergedError as error:
        failed = run.step
        kept = (
            f"the weights of step {run.step} are kept in {run.checkpoint.path}"
            if run.resume()
            else "no checkpoint exists yet"
        )
        raise DivergedError(f"{name}: {error}, at step {failed}; {kept}") from None
    return value


def train(
    run: TrainingRun, *pools: Pool, name: str, show_bar: bool = True, on_note: Callable[[str], None] = print
) -> TrainingResult:
    """Train to the last step, with a progress bar and a checkpoint every minute; an interrupt saves one first.

    Args:
        run: The run, fresh or resumed.
        pools: Pools of the batches: ``batch_size`` images from each.
        name: Its name in the progress bar.
        show_bar: Whether to show a progress bar.
        on_note: Called with one-line notes.

    Raises:
        GuideGymError: If a pool has fewer images than a batch, or it is called in inference mode.
        DivergedError: If the loss is no longer finite or its energies diverged; the run is then back at its last good
            checkpoint.
    """
    if torch.is_inference_mode_enabled():
        raise GuideGymError("training needs gradients: call it outside `torch.inference_mode()`")
    for pool in pools:
        if len(pool.images) < run.settings.batch_size:
            raise GuideGymError(
                f"{len(pool.images)} training images with a label are fewer than a batch of {run.settings.batch_size}: "
                "use a larger share of the labels"
            )
    if run.resume():
        on_note(f"{name}: resumed from {run.checkpoint.path} at step {run.step} of {run.settings.num_steps}")
    with tqdm(
        total=run.settings.num_steps, initial=run.step, desc=name, unit="step", mininterval=1.0, disable=not show_bar
    ) as bar:

        def step() -> bool:
            run.recent_losses = [*run.recent_losses[-199:], _healthy_step(run, pools, name)]
            bar.update()
            if run.step % 20 == 0:
                bar.set_postfix(loss=f"{sum(run.recent_losses) / len(run.recent_losses):.4f}", refresh=False)
            return False

        try:
            keep_on(step, run.save, is_done=lambda: run.step >= run.settings.num_steps)
        except KeyboardInterrupt:
            on_note(f"{name}: stopped at step {run.step}; the same command continues from {run.checkpoint.path}")
            raise
    return run.result()
