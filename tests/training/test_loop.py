"""A training run that is killed and resumed ends with the weights of one that was not."""

import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from guidegym import FileFormatError, GuideGymError, VPProcess
from guidegym.networks import Judge, UNet
from guidegym.training.loop import LoopSettings, TrainingRun, train
from guidegym.training.losses import Loss, noise_prediction, noisy_cross_entropy, shifted_cross_entropy

IMAGES = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 10
SETTINGS = LoopSettings(num_steps=8, batch_size=8, learning_rate=1e-3, warmup=3, ema_decay=0.9)


def _run(folder: Path, settings: LoopSettings = SETTINGS, *, seed: int = 0) -> TrainingRun:
    torch.manual_seed(seed)
    network = UNet(channels=(8, 16), blocks=1, embedding_dim=16)
    return TrainingRun(network, settings, checkpoint=folder / "run.pt", seed=seed, device=torch.device("cpu"))


def test_killing_and_resuming_gives_the_weights_of_an_unbroken_run(tmp_path: Path) -> None:
    loss = noise_prediction(VPProcess("cosine"))
    whole = train(_run(tmp_path / "whole"), IMAGES, LABELS, loss, name="whole")
    killed = _run(tmp_path / "killed")
    for _ in range(3):
        killed.recent_losses.append(killed.train_step(IMAGES, LABELS, loss))
    killed.save()
    killed.train_step(IMAGES, LABELS, loss)  # lost by the kill
    notes: list[str] = []
    resumed = train(_run(tmp_path / "killed"), IMAGES, LABELS, loss, name="killed", on_note=notes.append)
    assert "resumed" in notes[0]
    assert "step 3 of 8" in notes[0]
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.final_loss == pytest.approx(whole.final_loss)
    assert (whole.num_steps, resumed.num_steps) == (8, 8)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_amid_a_step_changes_nothing_in_the_resumed_weights(number: signal.Signals, tmp_path: Path) -> None:
    loss = shifted_cross_entropy(shift=1, smoothing=0.05)

    def judge_run(folder: str) -> TrainingRun:
        torch.manual_seed(0)
        settings = LoopSettings(num_steps=8, batch_size=16, learning_rate=1e-3)
        network = Judge(channels=(4, 8, 8))  # its batch statistics move in the forward pass already
        return TrainingRun(
            network, settings, checkpoint=tmp_path / folder / "run.pt", seed=0, device=torch.device("cpu")
        )

    run = judge_run("interrupted")

    def interrupted(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        value = loss(network, images, labels, g)
        if run.step == 5:
            signal.raise_signal(number)
        return value

    with pytest.raises(KeyboardInterrupt):
        train(run, IMAGES, LABELS, interrupted, name="run", on_note=lambda _: None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = judge_run("interrupted")
    resumed = train(again, IMAGES, LABELS, loss, name="run", on_note=lambda _: None)
    whole = train(judge_run("whole"), IMAGES, LABELS, loss, name="run", on_note=lambda _: None)
    for name, wanted in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], wanted, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    run, loss = _run(tmp_path), noise_prediction(VPProcess("cosine"))
    run.train_step(IMAGES, LABELS, loss)
    run.save()

    def diverged(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        return loss(network, images, labels, g) * float("nan")

    with pytest.raises(GuideGymError, match="the loss became nan at step 2"):
        train(_run(tmp_path), IMAGES, LABELS, diverged, name="run", on_note=lambda _: None)
    again = _run(tmp_path)
    assert again.resume()
    assert again.step == 1


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for content in ({"a": 1}, [1, 2]):
        torch.save(content, tmp_path / "run.pt")
        with pytest.raises(GuideGymError, match="is not a readable checkpoint"):
            _run(tmp_path).resume()


def test_a_checkpoint_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    _run(tmp_path).save()
    with pytest.raises(GuideGymError, match="belongs to a run with other settings, seed or data"):
        _run(tmp_path, seed=1).resume()


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(FileFormatError, match="not a readable checkpoint"):
        _run(tmp_path).resume()


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GuideGymError, match="fewer than one batch"):
        train(_run(tmp_path), IMAGES[:4], LABELS[:4], noise_prediction(VPProcess("cosine")), name="run")


class _Recorder(nn.Module):
    """Keeps the images it is shown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x.flatten(1)[:, :10]


def test_shifted_images_are_the_images_moved() -> None:
    recorder = _Recorder()
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    loss = shifted_cross_entropy(shift=2, smoothing=0.0)
    loss(recorder, images, torch.zeros(6, dtype=torch.long), torch.Generator().manual_seed(2))
    padded = nn.functional.pad(images, (2, 2, 2, 2), value=-1.0)
    for row in range(6):
        windows = [padded[row, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        assert sum(torch.equal(recorder.seen[row], window) for window in windows) == 1


def test_noisy_cross_entropy_falls_on_a_learnable_problem(tmp_path: Path) -> None:
    from guidegym.networks import TimeDependentClassifier

    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[LABELS < 5] = 255
    labels = (LABELS < 5).long()
    torch.manual_seed(0)
    network = TimeDependentClassifier(num_classes=2, channels=(8, 16), embedding_dim=16)
    settings = LoopSettings(num_steps=60, batch_size=20, learning_rate=3e-3, warmup=5)
    run = TrainingRun(network, settings, checkpoint=tmp_path / "c.pt", seed=0, device=torch.device("cpu"))
    loss: Loss = noisy_cross_entropy(VPProcess("cosine"))
    losses = [run.train_step(images, labels, loss) for _ in range(60)]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
