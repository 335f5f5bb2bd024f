"""Methods measured by their samples: collection, metrics, comparison, records and the command."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guidegym import DDIM, Constant, Guidance, GuideGymError, Likelihood, Testbed, load_testbed, sample
from guidegym.errors import FileFormatError
from guidegym.evaluate import main as evaluate
from guidegym.evaluation.sample_sets import collect as collecting
from guidegym.evaluation.sample_sets.collect import Collection, SampleSet, collect, digest_of, merge
from guidegym.evaluation.sample_sets.compare import compared, difference
from guidegym.evaluation.sample_sets.extractor import judge_extractor
from guidegym.evaluation.sample_sets.methods import methods, scaled
from guidegym.evaluation.sample_sets.metrics import METRICS, Measured, check_size, measure_set
from guidegym.evaluation.sample_sets.record import comparable, from_json, result_of, to_json
from guidegym.metrics import frechet_distance, moments
from guidegym.metrics.neighbours import neighbour_scores
from guidegym.metrics.resampling import Estimate, percentiles
from guidegym.search import Candidate
from guidegym.testbeds import judge_features

GUIDED = Candidate("guided", Guidance(Likelihood("time_dependent"), Constant(2.0)), DDIM(4, eta=1.0))
PLAIN = Candidate("unguided", Guidance(), DDIM(4, eta=1.0))


@pytest.fixture(scope="module")
def digits() -> Testbed:
    return load_testbed("digits")


@pytest.fixture
def collection(digits: Testbed, tmp_path: Path) -> Collection:
    return Collection(digits, judge_extractor(digits), per_class=8, seed=3, energy="robust", folder=tmp_path / "chunks")


def _collected(candidate: Candidate, collection: Collection) -> SampleSet:
    assert collect([candidate], collection) == 0
    return merge(candidate, collection)


def test_what_is_collected_is_what_plain_sampling_gives(collection: Collection, digits: Testbed) -> None:
    own = _collected(GUIDED, collection)
    labels = torch.arange(80) % 10
    samples = sample(digits, GUIDED.guidance, labels=labels, seed=3, sampler=GUIDED.sampler)
    features = judge_features(digits.judge, samples.x)
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
    whole = _collected(GUIDED, collection)
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

    def counted(candidate: Candidate, own: Collection, chunk: int, on_rows: object) -> dict[str, Tensor]:
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
    whole = _collected(GUIDED, collection)
    assert calls == [0, -1, 1]
    larger = _collected(GUIDED, replace(collection, per_class=10))
    assert calls == [0, -1, 1, 2]
    torch.testing.assert_close(larger.features[:80], whole.features)
    smaller = _collected(GUIDED, replace(collection, per_class=2))
    assert torch.equal(smaller.features, whole.features[:20])
    assert len(calls) == 4


def test_of_shards_beside_each_other_the_last_to_end_finds_all_there(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 40)
    real, other = collecting._sample, []

    def meanwhile(candidate: Candidate, own: Collection, chunk: int, on_rows: object) -> dict[str, Tensor]:
        if chunk == 0:  # the other shard does its part while this one samples
            other.append(collect([GUIDED], own, shard=1, shards=2))
        return real(candidate, own, chunk, None)

    monkeypatch.setattr(collecting, "_sample", meanwhile)
    assert collect([GUIDED], collection, shard=0, shards=2) == 0
    assert other == [1]


def test_a_damaged_chunk_is_sampled_anew(collection: Collection) -> None:
    whole = _collected(GUIDED, collection)
    (path,) = collection.folder.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(_collected(GUIDED, collection).features, whole.features)


def test_chunks_are_known_by_all_that_they_depend_on(collection: Collection) -> None:
    digests = {
        digest_of(candidate, own)
        for candidate, own in (
            (GUIDED, collection),
            (PLAIN, collection),
            (replace(GUIDED, sampler=DDIM(5)), collection),
            (GUIDED, replace(collection, seed=4)),
            (GUIDED, replace(collection, energy=None)),
            (GUIDED, replace(collection, testbed=replace(collection.testbed, identity="other"))),
        )
    }
    assert len(digests) == 6
    assert digest_of(replace(GUIDED, name="by another name"), collection) in digests


def test_numbers_are_those_of_the_plain_functions(collection: Collection, digits: Testbed) -> None:
    own, references = _collected(GUIDED, collection), digits.references
    found = measure_set(own, references, list(METRICS), resamples=5)
    assert found.keys() == METRICS.keys()
    assert found["frechet"].value == pytest.approx(
        frechet_distance(*moments(own.features), *references.pooled), rel=1e-5
    )
    real = references.features[:, :8].flatten(0, 1)
    scores = neighbour_scores(own.features, real)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name].value == pytest.approx(float(getattr(scores, name)))
    by_class = own.by_class(own.features)
    class_scores = [neighbour_scores(by_class[k], references.features[k, :8]) for k in range(10)]
    for name in ("precision", "coverage"):
        wanted = sum(float(getattr(score, name)) for score in class_scores) / 10
        assert found[f"intra_{name}"].value == pytest.approx(wanted)
    wanted = sum(
        frechet_distance(*moments(by_class[k]), references.mean[k], references.covariance[k]) for k in range(10)
    )
    assert found["intra_frechet"].value == pytest.approx(wanted / 10, rel=1e-4)
    assert found["accuracy"].value == pytest.approx(float(own.hits[:, 0].double().mean()))
    assert found["robustness"].value == pytest.approx(float(own.hits.double().mean()))
    assert own.divergence is not None
    assert found["energy_divergence"].value == pytest.approx(float(own.divergence.double().mean()))
    for name, one in found.items():
        assert one.draws.shape == (5,), name
        if METRICS[name].share:
            assert 0 <= one.estimate.low <= one.estimate.high <= 1


def test_the_order_of_rows_within_a_class_does_not_matter(collection: Collection, digits: Testbed) -> None:
    own = _collected(GUIDED, collection)
    order = torch.arange(80).reshape(8, 10)[torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])].flatten()
    assert own.spatial is not None
    assert own.divergence is not None
    moved = replace(
        own,
        features=own.features[order],
        logits=own.logits[order],
        spatial=own.spatial[order],
        hits=own.hits[order],
        divergence=own.divergence[order],
    )
    names = [name for name in METRICS if name != "frechet_infinite"]  # its halves are random
    one, other = (measure_set(rows, digits.references, names, resamples=2) for rows in (own, moved))
    for name in names:
        assert one[name].value == pytest.approx(other[name].value, rel=1e-4, abs=1e-6), name


def test_a_failed_sample_spoils_distances_and_counts_as_a_miss(collection: Collection, digits: Testbed) -> None:
    own = _collected(GUIDED, collection)
    failed = own.failed.clone()
    failed[0] = True
    found = measure_set(replace(own, failed=failed), digits.references, ["frechet", "precision", "accuracy"])
    assert math.isinf(found["frechet"].value)
    assert math.isnan(found["precision"].value)
    assert math.isfinite(found["accuracy"].value)
    clean = measure_set(own, digits.references, ["frechet"])
    assert math.isnan(difference(found["frechet"], clean["frechet"]).p_value)


def test_sets_too_small_are_refused_and_small_ones_warned_of(digits: Testbed) -> None:
    with pytest.raises(GuideGymError, match="`precision` needs at least 6 samples of each class, got 5"):
        check_size(["precision"], digits.references, per_class=5)
    with pytest.warns(UserWarning, match="60 samples are few for Frechet in 64 dimensions"):
        check_size(["frechet", "kid"], digits.references, per_class=6)
    with pytest.warns(UserWarning, match="100 samples are few for intra-Frechet .* 128 samples of each class"):
        check_size(["intra_frechet"], digits.references, per_class=100)
    check_size(list(METRICS), digits.references, per_class=128)


def _fake(values: Tensor, draws: Tensor) -> Measured:
    value, drawn = float(values.mean()), values[draws].mean(dim=1)
    return Measured(value, drawn, percentiles(value, drawn))


def test_the_paired_test_is_calibrated_and_sees_what_the_intervals_hide() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(200, (400, 200), generator=generator)
    p_values = []
    for _ in range(200):
        shared, noise = (torch.randn(200, generator=generator, dtype=torch.float64) for _ in range(2))
        p_values.append(difference(_fake(shared + 0.1 * noise, draws), _fake(shared, draws)).p_value)
    # Uniform under no difference: about 5 % below 0.05.
    below = sum(p < 0.05 for p in p_values) / len(p_values)
    assert 0.01 < below < 0.11
    shared = torch.randn(200, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(200, generator=generator, dtype=torch.float64)
    one, other = _fake(shared + 0.05 + noise, draws), _fake(shared, draws)
    assert one.estimate.low < other.estimate.high  # the intervals overlap
    found = difference(one, other)
    assert found.p_value < 1e-3
    assert found.estimate.low > 0
    assert compared({"x": one}, {"x": one, "y": other})["x"].p_value == 1.0


def test_results_are_read_back_and_stand_only_beside_their_like(collection: Collection, tmp_path: Path) -> None:
    own = _collected(GUIDED, collection)
    measured = measure_set(own, collection.testbed.references, ["frechet", "accuracy"], resamples=4)
    path, shared = tmp_path / "earlier" / "results.json", comparable(collection)
    path.parent.mkdir()
    path.write_text(to_json([result_of(own, measured, compared(measured, measured))], shared, {"seed": 3}))
    (found,) = from_json(path, shared)
    assert found.name == "earlier/guided"
    assert found.estimates["frechet"] == measured["frechet"].estimate
    assert found.evaluations == own.evaluations.sum() / 80
    for other, said in (
        (comparable(replace(collection, per_class=9)), "another samples .*: 80, not 90"),
        ({**shared, "extractor": {"name": "digits judge", "digest": "0"}}, "another extractor"),
        ({**shared, "testbed": "fashion"}, "another testbed"),
    ):
        with pytest.raises(GuideGymError, match=said):
            from_json(path, other)
    for text, said in (("{", "not a readable file"), ('{"format": "x"}', "must have format"), ("{}", "not a readable")):
        path.write_text(text)
        with pytest.raises(FileFormatError, match=said):
            from_json(path, shared)


def test_methods_are_files_and_two_baselines(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        GUIDED.guidance.save(tmp_path / folder / "best.json")
    files = [str(tmp_path / folder / "best.json") for folder in ("one", "two")]
    found = methods(["unguided", *files, "classifier-free:2.5", "classifier-free"], DDIM(4))
    assert [one.name for one in found] == ["unguided", "best", "two/best", "classifier-free:2.5", "classifier-free"]
    assert found[3].guidance.weight == Constant(2.5)
    with pytest.raises(GuideGymError, match=r"has '.*unguided' twice"):
        methods(["unguided", "unguided", "unguided"], DDIM(4))


def test_a_scaled_method_has_the_scaled_weight_at_each_step(digits: Testbed) -> None:
    doubled = scaled(GUIDED, 2.0, digits.process)
    wanted = 2 * GUIDED.guidance.weights(GUIDED.sampler, digits.process)
    torch.testing.assert_close(doubled.guidance.weights(GUIDED.sampler, digits.process), wanted)
    assert doubled.name == "guided x 2"


def test_the_command_measures_compares_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDED.guidance.save(tmp_path / "guided.json")
    flags = [
        "--testbed",
        "digits",
        "--per-class",
        "8",
        "--steps",
        "4",
        "--resamples",
        "10",
        "--out",
        str(tmp_path / "a"),
    ]
    assert evaluate([*flags, "--guidance", "unguided", str(tmp_path / "guided.json"), "--scales", "0.5", "1"]) == 0
    out = capsys.readouterr().out
    assert "warning: 80 samples are few for Frechet, Frechet, n = inf in 64 dimensions" in out
    assert "intra-KID (lower)" in out
    content = json.loads((tmp_path / "a" / "results.json").read_text())
    assert [one["method"] for one in content["methods"]] == ["unguided", "guided"]
    assert content["extractor"]["name"] == "digits judge"
    assert content["methods"][1]["less_first"]["accuracy"]["value"] > 0.3
    rows = list(csv.DictReader((tmp_path / "a" / "table.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"unguided", "guided"}
    for name in ("samples.png", "curves.png"):
        assert (tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG")
    assert "Less unguided" in (tmp_path / "a" / "report.html").read_text()
    beside = ["--beside", str(tmp_path / "a" / "results.json"), "--metrics", "accuracy"]
    assert evaluate([*flags[:-1], str(tmp_path / "b"), "--guidance", "classifier-free", *beside]) == 0
    assert "a/guided" in capsys.readouterr().out


@pytest.mark.parametrize("launched", [False, True], ids=["flags", "torchrun"])
def test_shards_sample_and_the_last_one_measures(
    launched: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "CHUNK_ROWS", 40)
    flags = [
        "--testbed",
        "digits",
        "--per-class",
        "8",
        "--steps",
        "3",
        "--out",
        str(tmp_path),
        "--guidance",
        "unguided",
    ]
    for shard in range(2):
        monkeypatch.setenv("RANK", str(shard))
        monkeypatch.setenv("WORLD_SIZE", "2")
        given = [] if launched else ["--shard", str(shard), "--shards", "2"]
        assert evaluate([*flags, "--metrics", "accuracy", "--resamples", "4", *given]) == 0
        said = capsys.readouterr().out
        assert ("1 chunks of other shards are missing" in said) == (shard == 0)
    assert (tmp_path / "results.json").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--guidance", "nowhere.json"], "nowhere.json cannot be read"),
        (["--guidance", "classifier-free:much"], "takes a number, got 'much'"),
        (["--guidance", "unguided", "--per-class", "0"], "`--per-class` must be a whole number >= 1, got 0"),
        (["--guidance", "unguided", "--per-class", "3"], "`precision` needs at least 6 samples of each class, got 3"),
        (["--guidance", "unguided", "--metrics", "fid"], "no metric 'fid'; known are frechet, "),
        (["--guidance", "unguided", "--energy", "nobody"], "`--energy` must be a classifier with known class energies"),
        (["--guidance", "unguided", "--shard", "1"], "`--shard` and `--shards` belong together"),
        (["--guidance", "unguided", "--shard", "2", "--shards", "2"], "`--shard` must be in 0..1, got 2"),
        (["--guidance", "unguided", "--inception-weights", "x"], "belongs to `--extractor inception`"),
        (["--guidance", "unguided", "--extractor", "inception", "--inception-weights", "x"], "no Inception weights x"),
        (["--guidance", "unguided", "--steps", "0"], "`--steps` must be"),
        (["--guidance", "unguided", "--beside", "nothing.json"], "nothing.json is not a readable file of results"),
        (["--guidance", "unguided", "--resamples", "1"], "`--resamples` must be a whole number >= 2, got 1"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_input_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(["--testbed", "digits", "--out", str(tmp_path / "out"), *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_inception_needs_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--testbed", "gaussians", "--guidance", "unguided", "--extractor", "inception"]) == 2
    assert "Inception looks at images of 1 or 3 channels, got samples of shape (2,)" in capsys.readouterr().err


def test_numbers_that_cannot_be_measured_are_null_and_come_back(collection: Collection, tmp_path: Path) -> None:
    own = _collected(PLAIN, collection)
    spoiled = replace(own, failed=torch.ones_like(own.failed))
    measured = measure_set(spoiled, collection.testbed.references, ["frechet", "recall"])
    path = tmp_path / "results.json"
    path.write_text(to_json([result_of(spoiled, measured, {})], comparable(collection), {}))
    (found,) = from_json(path, comparable(collection))
    assert found.estimates["frechet"] == Estimate(math.inf, math.inf, math.inf)
    assert math.isnan(found.estimates["recall"].value)
    assert found.failed == 80
