"""The digits testbed: complete, small, and trained from scratch in part."""

from pathlib import Path

import pytest
import torch

from guidegym import DDIM, Constant, DataNotFoundError, FileFormatError, Guidance, Likelihood, Testbed, load_testbed
from guidegym.evaluation.measuring.method import Method
from guidegym.networks import TimeDependentClassifier
from guidegym.networks.weights import read_metadata
from guidegym.search import Scorer
from guidegym.testbeds import IMAGE_SETS
from guidegym.testbeds.digits import DIGITS
from guidegym.testbeds.digits_data import load_digits
from guidegym.testbeds.fashion import FASHION
from guidegym.testbeds.images import ImageSet, files_by_role
from guidegym.train_models import main as train_models
from guidegym.training.energy_based import check_energies
from guidegym.training.recipes import recipes_for
from guidegym.training.sizes import BUDGETS, SIZES

CLEAN = ("robust_r0", "robust_r025", "robust_r05", "robust", "jem", "gmmc_discriminative", "gmmc_generative")


@pytest.fixture(scope="session")
def digits() -> Testbed:
    return load_testbed("digits")


def test_the_split_is_fixed_and_complete() -> None:
    data = load_digits()
    assert (len(data.train_images), len(data.test_images)) == (1437, 360)
    assert data.train_images.shape[1:] == (1, 8, 8)
    assert data.train_images.dtype == torch.uint8
    assert int(data.train_images.max()) == 255
    assert data.digest == load_digits().digest
    assert sorted(set(data.test_labels.tolist())) == list(range(10))


def test_every_recipe_is_shipped_and_says_where_it_comes_from(digits: Testbed) -> None:
    recipes = recipes_for(DIGITS, SIZES["digits"])
    roles = files_by_role(DIGITS.shipped)
    files = {name: path for own in roles.values() for name, path in own.items()}
    compared = ("time_dependent", "self_calibrated", "self_calibrated_all", "conditional", "conditional_all")
    few_labels = {f"{name}-{percent}" for name in compared for percent in (5, 20)}
    assert set(files) == {*recipes, *few_labels}
    assert len(roles["judge"]) == 4
    for name, path in files.items():
        training = read_metadata(path)["training"]
        assert training["recipe"] == name.split("-")[0]
        assert training["labels"] == (int(name.split("-")[1]) / 100 if "-" in name else 1)
        assert {"budget", "seed", "steps", "loss", "labels", "data_sha256"} <= training.keys()
        assert training["data_sha256"] == load_digits().digest
        assert path.stat().st_size < 1_500_000
    assert set(digits.classifiers) == set(roles["guide"])
    assert set(digits.judges) == set(roles["judge"])


def test_guidance_moves_digits_to_the_class(digits: Testbed) -> None:
    sampler = DDIM(10, eta=1.0)
    candidates = [
        Method("unguided", Guidance(), sampler),
        Method("guided", Guidance(Likelihood("time_dependent"), Constant(4.0)), sampler),
    ]
    unguided, guided = Scorer(digits, seed=0, samples_per_class=10).measure(candidates)
    assert guided.accuracy > unguided.accuracy + 0.4
    assert guided.kid < unguided.kid


@pytest.mark.slow
def test_a_part_is_trained_from_scratch_and_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--testbed", "digits", "--out", str(tmp_path)]
    assert train_models([*flags, "--only", "judge", "time_dependent", "--labels", "20%"]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'judge-20.safetensors'}: final_loss 0." in shown
    trained = {
        name: read_metadata(tmp_path / f"{name}-20.safetensors")["training"] for name in ("judge", "time_dependent")
    }
    assert trained["judge"]["labels"] == 0.2
    assert trained["judge"]["test_accuracy"] > 0.9
    assert trained["time_dependent"]["test_accuracy"] > 0.8
    # What is finished is not trained again.
    assert train_models([*flags, "--only", "judge", "--labels", "20%"]) == 0
    assert "judge-20: resumed from" in capsys.readouterr().out


@pytest.mark.parametrize("images", IMAGE_SETS.values(), ids=IMAGE_SETS)
def test_all_classifiers_of_noisy_images_are_trained_alike(images: ImageSet) -> None:
    for budget in BUDGETS:
        recipes = recipes_for(images, SIZES[images.name], budget=budget)
        timed = [recipe for recipe in recipes.values() if isinstance(recipe.build(), TimeDependentClassifier)]
        assert len(timed) == 9
        assert len({recipe.settings for recipe in timed}) == 1
        clean = [recipe.settings for name, recipe in recipes.items() if name in CLEAN]
        if budget == "small":
            assert len({(one.num_steps, one.batch_size) for one in clean}) == 1


def test_the_weight_of_a_loss_is_the_recipe_s_or_the_one_asked_for() -> None:
    own, asked = (recipes_for(DIGITS, SIZES["digits"], weight=weight) for weight in (None, 0.25))
    weighed = {name for name, recipe in own.items() if recipe.weight is not None}
    assert weighed == {"jacobian", "self_calibrated", "self_calibrated_all", "dlsm", "timed_jem", "jem"}
    for name, recipe in asked.items():
        assert recipe.weight == (0.25 if name in weighed else None)
        assert (recipe.says != own[name].says) == (name in weighed)
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    network = own["self_calibrated"].build()

    def loss(weight: float | None) -> float:
        recipe = recipes_for(DIGITS, SIZES["digits"], weight=weight)["self_calibrated"]
        return recipe.loss({})(network, images, labels, torch.Generator().manual_seed(0)).item()

    light, heavy = loss(0.0), loss(1.0)
    own_weight = own["self_calibrated"].weight
    assert own_weight is not None
    assert loss(None) == pytest.approx(light + own_weight * (heavy - light), rel=1e-4)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--loss-weight", "0.1"],
            "`--loss-weight` applies to jacobian, self_calibrated, self_calibrated_all, dlsm",
        ),
        (["--loss-weight", "-1", "--only", "jacobian"], "`--loss-weight` must be >= 0, got -1"),
        (["--loss-weight", "nan", "--only", "jacobian"], "`--loss-weight` must be a finite number, got nan"),
        (["--only", "nothing"], "no network 'nothing'; known: judge, "),
        (["--only", "dlsm"], "denoiser.safetensors; train denoiser into"),
        (["--only", "denoiser", "--labels", "5%"], "denoiser is trained without labels: leave out `--labels`"),
        (
            ["--only", "time_dependent", "--labels", "1%"],
            "are fewer than a batch of 64: use a larger share of the labels",
        ),
        (["--only", "judge", "--seed", str(10**30)], "`--seed` must be a whole number in 0..2147483647, got 1000"),
        (["--data", "somewhere"], "the digits come with scikit-learn"),
    ],
)
def test_wrong_input_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_models(["--testbed", "digits", "--out", str(tmp_path), *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("share", ["0", "-5%", "200%", "some", "nan"])
def test_a_share_of_labels_must_be_one(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_models(["--testbed", "digits", f"--labels={share}"]) == 2
    assert "must be a share of the labels" in capsys.readouterr().err


def test_a_folder_that_lacks_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no weight file of a classifier to guide with"):
        load_testbed("digits", weights=tmp_path)
    for name in ("denoiser", "judge", "references"):
        (tmp_path / f"{name}.safetensors").write_bytes((DIGITS.shipped / f"{name}.safetensors").read_bytes())
    with pytest.raises(DataNotFoundError, match="no weight file of a classifier to guide with"):
        load_testbed("digits", weights=tmp_path)
    (tmp_path / "mine.safetensors").write_bytes((FASHION.shipped / "time_dependent.safetensors").read_bytes())
    with pytest.raises(FileFormatError, match=r"mine\.safetensors was trained on 'fashion', not on 'digits'"):
        load_testbed("digits", weights=tmp_path)
    (tmp_path / "judge.safetensors").write_bytes((DIGITS.shipped / "robust.safetensors").read_bytes())
    with pytest.raises(FileFormatError, match="is the weight file of another kind of network"):
        load_testbed("digits", weights=tmp_path)


def test_a_classifier_by_itself_is_used_with_the_shipped_networks(digits: Testbed, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes((DIGITS.shipped / "jem.safetensors").read_bytes())
    testbed = load_testbed("digits", weights=tmp_path)
    assert list(testbed.classifiers) == ["mine"]
    assert testbed.judges.keys() == digits.judges.keys()
    assert testbed.references.extractor == digits.references.extractor
    assert testbed.identity != digits.identity
    (tmp_path / "judge.safetensors").write_bytes((DIGITS.shipped / "judge.safetensors").read_bytes())
    with pytest.raises(DataNotFoundError, match=r"references\.safetensors"):  # a judge brings its own
        load_testbed("digits", weights=tmp_path)


def test_a_training_that_diverges_leaves_its_last_good_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def runs_away(real: torch.Tensor, sampled: torch.Tensor, limit: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            check_energies(real, sampled + 1e9, limit)

    monkeypatch.setattr("guidegym.training.energy_based.check_energies", runs_away)
    monkeypatch.setattr("guidegym.support.checkpoint.CHECKPOINT_SECONDS", 0.0)
    assert train_models(["--testbed", "digits", "--only", "jem", "--out", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "jem: the energies diverged: mean" in errors
    assert "at step 3; the weights of step 3 are kept in" in errors
    training = read_metadata(tmp_path / "jem.safetensors")["training"]
    assert training["diverged"] is True
    assert training["steps"] == 3
