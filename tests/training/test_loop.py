"""A training run that is killed and resumed ends with the weights of one that was not."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from guidegym import FileFormatError, GuideGymError, VPProcess
from guidegym.networks import Judge, TimeDependentClassifier, UNet
from guidegym.training.cross_entropy import noisy_cross_entropy, shifted_cross_entropy
from guidegym.training.denoising import noise_prediction
from guidegym.training.energy_based import TimedJointEnergyLoss
from guidegym.training.langevin import Langevin
from guidegym.training.loss import DivergedError, Loss
from guidegym.training.replay import ReplayBuffer
from guidegym.training.train import Pool, TrainingRun, TrainingSettings, train

IMAGES = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 10
SETTINGS = TrainingSettings(num_steps=8, batch_size=8, learning_rate=1e-3, warmup=3, ema_decay=0.9)


POOL = Pool(IMAGES, LABELS)
NOISE = noise_prediction(VPProcess("cosine"))


def _run(folder: Path, settings: TrainingSettings = SETTINGS, *, seed: int = 0, loss: Loss = NOISE) -> TrainingRun:
    torch.manual_seed(seed)
    network = UNet(channels=(8, 16), blocks=1, embedding_dim=16)
    return TrainingRun(network, loss, settings, checkpoint=folder / "run.pt", seed=seed, device=torch.device("cpu"))


def test_killing_and_resuming_gives_the_weights_of_an_unbroken_run(tmp_path: Path) -> None:
    whole = train(_run(tmp_path / "whole"), POOL, name="whole")
    killed = _run(tmp_path / "killed")
    for _ in range(3):
        killed.recent_losses.append(killed.train_step([POOL]))
    killed.save()
    killed.train_step([POOL])  # lost by the kill
    notes: list[str] = []
    resumed = train(_run(tmp_path / "killed"), POOL, name="killed", on_note=notes.append)
    assert "resumed" in notes[0]
    assert "step 3 of 8" in notes[0]
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.final_loss == pytest.approx(whole.final_loss)
    assert (whole.num_steps, resumed.num_steps) == (8, 8)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_amid_a_step_changes_nothing_in_the_resumed_weights(number: signal.Signals, tmp_path: Path) -> None:
    loss = shifted_cross_entropy(shift=1, smoothing=0.05)

    def judge_run(folder: str, minimised: Loss = loss) -> TrainingRun:
        torch.manual_seed(0)
        settings = TrainingSettings(num_steps=8, batch_size=16, learning_rate=1e-3)
        network = Judge(channels=(4, 8, 8))  # its batch statistics move in the forward pass already
        return TrainingRun(
            network, minimised, settings, checkpoint=tmp_path / folder / "run.pt", seed=0, device=torch.device("cpu")
        )

    def interrupted(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        value = loss(network, images, labels, g)
        if run.step == 5:
            signal.raise_signal(number)
        return value

    run = judge_run("interrupted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(run, POOL, name="run", on_note=lambda _: None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = judge_run("interrupted")
    resumed = train(again, POOL, name="run", on_note=lambda _: None)
    whole = train(judge_run("whole"), POOL, name="run", on_note=lambda _: None)
    for name, wanted in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], wanted, rtol=0, atol=0)


def _diverged(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return NOISE(network, images, labels, g) * float("nan")


def test_a_loss_that_is_not_finite_stops_the_run_and_goes_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.train_step([POOL])
    run.save()
    kept = {name: value.clone() for name, value in run.network.state_dict().items()}
    bad = _run(tmp_path, loss=_diverged)
    with pytest.raises(
        DivergedError, match=r"the loss became nan, at step 2; the weights of step 1 are kept in .*run\.pt"
    ):
        train(bad, POOL, name="run", on_note=lambda _: None)
    assert bad.step == 1
    for name, value in bad.network.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)
    with pytest.raises(DivergedError, match="at step 1; no checkpoint exists yet"):
        train(_run(tmp_path / "fresh", loss=_diverged), POOL, name="run", on_note=lambda _: None)


def test_a_loss_with_a_memory_resumes_with_it(tmp_path: Path) -> None:
    def energy_run(folder: str) -> TrainingRun:
        torch.manual_seed(0)
        loss = TimedJointEnergyLoss(
            VPProcess("cosine"), ReplayBuffer((1, 8, 8), size=20, restart=0.1), chains=Langevin(2)
        )
        network = TimeDependentClassifier(channels=(8, 16), embedding_dim=16)
        checkpoint = tmp_path / folder / "run.pt"
        return TrainingRun(network, loss, SETTINGS, checkpoint=checkpoint, seed=0, device=torch.device("cpu"))

    whole = train(energy_run("whole"), POOL, name="whole")
    killed = energy_run("killed")
    for _ in range(5):
        killed.recent_losses.append(killed.train_step([POOL]))
    killed.save()
    killed.train_step([POOL])  # lost by the kill
    resumed = train(energy_run("killed"), POOL, name="killed", on_note=lambda _: None)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.final_loss == pytest.approx(whole.final_loss)


def test_a_step_takes_a_batch_of_each_pool(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def record(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        seen.append(labels)
        return NOISE(network, images, labels, g)

    few, unlabelled = Pool(IMAGES[:9], LABELS[:9]), Pool(IMAGES, torch.full_like(LABELS, -1))
    train(_run(tmp_path, loss=record), few, unlabelled, name="run")
    assert all(len(labels) == 16 and bool((labels[:8] >= 0).all() and (labels[8:] == -1).all()) for labels in seen)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for content in ({"a": 1}, [1, 2]):
        torch.save(content, tmp_path / "run.pt")
        with pytest.raises(GuideGymError, match="is not a readable checkpoint"):
            _run(tmp_path).resume()


def test_a_checkpoint_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    _run(tmp_path).save()
    with pytest.raises(GuideGymError, match="belongs to another run: seed 0 there, 1 here"):
        _run(tmp_path, seed=1).resume()


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(FileFormatError, match="not a readable checkpoint"):
        _run(tmp_path).resume()


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GuideGymError, match="4 training images with a label are fewer than a batch of 8"):
        train(_run(tmp_path), Pool(IMAGES[:4], LABELS[:4]), name="run")


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
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[LABELS < 5] = 255
    labels = (LABELS < 5).long()
    torch.manual_seed(0)
    network = TimeDependentClassifier(num_classes=2, channels=(8, 16), embedding_dim=16)
    settings = TrainingSettings(num_steps=60, batch_size=20, learning_rate=3e-3, warmup=5)
    loss = noisy_cross_entropy(VPProcess("cosine"))
    run = TrainingRun(network, loss, settings, checkpoint=tmp_path / "c.pt", seed=0, device=torch.device("cpu"))
    losses = [run.train_step([Pool(images, labels)]) for _ in range(60)]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_half_precision_learns_what_single_precision_learns_to_its_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    runs = [_run(tmp_path / str(half), replace(SETTINGS, half_precision=half)) for half in (False, True)]
    losses = [[run.train_step([POOL]) for _ in range(6)] for run in runs]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {parameter.dtype for parameter in runs[1].network.parameters()} == {torch.float32}


def test_half_precision_waits_for_a_processor_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    runs = [_run(tmp_path / str(half), replace(SETTINGS, half_precision=half)) for half in (False, True)]
    losses = [[run.train_step([POOL]) for _ in range(3)] for run in runs]
    assert losses[0] == losses[1]
