"""The collection of samples: chunks, shards, resuming."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sampled import GUIDED, PLAIN, collected
from torch import Tensor

from guidegym import (
    DDIM,
    ClassifierFree,
    ClassifierScore,
    ConditionalDenoiser,
    Constant,
    Guidance,
    GuideGymError,
    Testbed,
    VPProcess,
    sample,
)
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.sample_sets import collect as collecting
from guidegym.evaluation.sample_sets.collect import Collection, collect, digest_of, merge, networks_used


def test_what_is_collected_is_what_plain_sampling_gives(collection: Collection, digits: Testbed) -> None:
    own = collected(GUIDED, collection)
    labels = torch.arange(80) % 10
    samples = sample(digits, GUIDED.guidance, labels=labels, seed=3, sampler=GUIDED.sampler)
    features = digits.seen(samples.x).features
    torch.testing.assert_close(own.features, features)
    torch.testing.assert_close(own.shown, samples.x)
    torch.testing.assert_close(own.evaluations, samples.evaluations)
    assert torch.equal(own.hits[:, 0], digits.judge.classify(features).argmax(dim=1) == labels)
    assert own.hits.shape == (80, 4)
    energy = -digits.classifier("robust")(samples.x, torch.zeros(80)).logsumexp(dim=1)
    assert own.divergence is not None
    torch.testing.assert_close(own.divergence, (digits.class_energies["robust"][labels] - energy).abs().detach())
    torch.testing.assert_close(own.by_class(own.features)[3], features[3::10])


def test_chunks_shards_and_batches_change_nothing(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collected(GUIDED, collection)
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 17)
    small = replace(collection, folder=tmp_path / "sharded", batch_size=5)
    missing = [collect([GUIDED, PLAIN], small, shard=shard, shards=3) for shard in range(3)]
    assert missing == [6, 3, 0]  # two methods of five chunks each
    parts = merge(GUIDED, small)
    torch.testing.assert_close(parts.features, whole.features, rtol=1e-2, atol=1e-2)
    for name in ("hits", "failed", "evaluations"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))
    torch.testing.assert_close(parts.shown, whole.shown, rtol=1e-2, atol=2e-3)


def test_what_was_sampled_is_not_sampled_again_and_a_larger_set_begins_with_it(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 40)
    calls: list[int] = []
    real = collecting._sample

    def counted(candidate: Method, own: Collection, chunk: int, on_rows: object) -> dict[str, Tensor]:
        if len(calls) == 1:
            calls.append(-1)
            raise KeyboardInterrupt
        calls.append(chunk)
        return real(candidate, own, chunk, None)

    monkeypatch.setattr(collecting, "_sample", counted)
    with pytest.raises(KeyboardInterrupt):
        collect([GUIDED], collection)
    with pytest.raises(GuideGymError, match="chunk 2 of 2 of 'guided' is missing"):
        merge(GUIDED, collection)
    whole = collected(GUIDED, collection)
    assert calls == [0, -1, 1]
    larger = collected(GUIDED, replace(collection, per_class=10))
    assert calls == [0, -1, 1, 2]
    torch.testing.assert_close(larger.features[:80], whole.features)
    smaller = collected(GUIDED, replace(collection, per_class=2))
    assert torch.equal(smaller.features, whole.features[:20])
    assert len(calls) == 4


def test_of_shards_beside_each_other_the_last_to_end_finds_all_there(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 40)
    real, other = collecting._sample, []

    def meanwhile(candidate: Method, own: Collection, chunk: int, on_rows: object) -> dict[str, Tensor]:
        if chunk == 0:  # the other shard does its part while this one samples
            other.append(collect([GUIDED], own, shard=1, shards=2))
        return real(candidate, own, chunk, None)

    monkeypatch.setattr(collecting, "_sample", meanwhile)
    assert collect([GUIDED], collection, shard=0, shards=2) == 0
    assert other == [1]


def test_a_damaged_chunk_is_sampled_anew(collection: Collection) -> None:
    whole = collected(GUIDED, collection)
    (path,) = collection.folder.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(collected(GUIDED, collection).features, whole.features)


def _other(collection: Collection) -> torch.nn.Module:
    """Return the denoiser with one weight moved a little."""
    denoiser = collection.testbed.denoiser
    assert isinstance(denoiser, torch.nn.Module)
    other = copy.deepcopy(denoiser)
    next(other.parameters()).data.flatten()[0] += 1e-6
    return other


def test_chunks_are_known_by_all_that_they_depend_on(collection: Collection) -> None:
    digests = {
        digest_of(candidate, own)
        for candidate, own in (
            (GUIDED, collection),
            (PLAIN, collection),
            (replace(GUIDED, sampler=DDIM(5)), collection),
            (GUIDED, replace(collection, seed=4)),
            (GUIDED, replace(collection, energy=None)),
            (GUIDED, replace(collection, testbed=replace(collection.testbed, denoiser=_other(collection)))),
        )
    }
    assert len(digests) == 6
    # A network that the method does not use may come and go.
    fewer = {name: collection.testbed.classifiers[name] for name in ("time_dependent", "robust")}
    assert digest_of(GUIDED, replace(collection, testbed=replace(collection.testbed, classifiers=fewer))) in digests
    fewer["time_dependent"] = collection.testbed.classifiers["timed_jem"]
    assert digest_of(GUIDED, replace(collection, testbed=replace(collection.testbed, classifiers=fewer))) not in digests
    assert digest_of(replace(GUIDED, name="by another name"), collection) in digests


def test_the_first_rows_of_a_chunk_have_their_share_of_its_seconds(collection: Collection) -> None:
    whole = collected(PLAIN, collection)
    half = replace(collection, per_class=collection.per_class // 2)
    assert merge(PLAIN, half).seconds == pytest.approx(whole.seconds / 2)


@pytest.mark.parametrize("change", [{"clip": 2.0}, {"process": VPProcess("linear")}], ids=["clip", "process"])
def test_chunks_of_another_process_are_others(change: dict[str, object], collection: Collection) -> None:
    other = replace(collection, testbed=replace(collection.testbed, **change))  # type: ignore[arg-type]
    assert digest_of(PLAIN, other) != digest_of(PLAIN, collection)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_one_flipped_bit_is_found_and_the_chunk_is_sampled_again(
    place: float, collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = collected(PLAIN, collection)
    (path,) = (collection.folder / digest_of(PLAIN, collection)).iterdir()
    content = path.read_bytes()
    number = int(place * len(content))
    path.write_bytes(content[:number] + bytes([content[number] ^ 1]) + content[number + 1 :])
    with pytest.raises(GuideGymError, match="chunk 1 of 1 of 'unguided' is missing"):
        merge(PLAIN, collection)
    assert "is damaged or of an earlier version; sampling it again" in capsys.readouterr().err
    again = collected(PLAIN, collection)
    assert torch.equal(again.features, whole.features)


def test_a_kind_that_is_called_like_a_network_names_none(digits: Testbed) -> None:
    few = Guidance(ClassifierFree("conditional-5"), Constant(1.0), base_model=ConditionalDenoiser("conditional-5"))
    assert '"kind": "conditional"' in few.to_json()
    assert networks_used(digits, few.to_json())["conditionals"].keys() == {"conditional-5"}
    alone = Guidance(base_model=ClassifierScore("self_calibrated", conditional=True))
    used = networks_used(digits, alone.to_json(), "robust")
    assert not used["conditionals"]
    assert used["classifiers"].keys() == {"robust", "self_calibrated"}
