"""The shipped networks are what their card says, and guiding with them helps."""

from pathlib import Path
from typing import Any

import pytest
import torch

from guidegym import (
    DDIM,
    ClassEnergy,
    Constant,
    Guidance,
    GuideGymError,
    Likelihood,
    ProbabilityFlow,
    Testbed,
    load_testbed,
)
from guidegym.evaluation.measuring.method import Method
from guidegym.metrics.accuracy import accuracy, robust_accuracy
from guidegym.networks.weights import read_metadata
from guidegym.search import Scorer
from guidegym.testbeds.fashion import FASHION
from guidegym.testbeds.fashion_data import DEBIAN_FOLDER, load_fashion_mnist
from guidegym.testbeds.image_data import to_unit_range

NETWORKS = sorted(path.stem for path in FASHION.shipped.glob("*.safetensors") if path.stem != "references")
CLASSIFIERS = {
    *("time_dependent", "time_dependent-5", "time_dependent-20", "label_smoothing", "jacobian", "dlsm", "robust_time"),
    *("self_calibrated", "self_calibrated-5", "self_calibrated-20", "self_calibrated_all-5", "self_calibrated_all-20"),
    *("robust_r0", "robust_r025", "robust_r05", "robust", "jem", "gmmc_discriminative", "gmmc_generative"),
}


def _trained(name: str) -> dict[str, Any]:
    training: dict[str, Any] = read_metadata(FASHION.shipped / f"{name}.safetensors")["training"]
    return training


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weight_file_tells_its_story(name: str) -> None:
    training = _trained(name)
    keys = {"recipe", "budget", "seed", "data_sha256", "steps", "final_loss"}
    assert keys <= training.keys()
    recipe, _, percent = name.partition("-")
    assert training["recipe"] == recipe
    assert recipe in ("denoiser", "conditional") or "test_accuracy" in training
    if percent:
        assert training["labels"] == int(percent) / 100


def test_the_papers_classifiers_and_a_bank_of_judges_ship(fashion: Testbed) -> None:
    assert set(fashion.classifiers) == CLASSIFIERS
    assert set(fashion.class_energies) == CLASSIFIERS
    assert set(fashion.judges) == {"judge", "judge_residual", "judge_depthwise", "judge_mixer"}
    assert len({type(judge) for judge in fashion.judges.values()}) == 4


def test_the_shipped_networks_reach_their_quality() -> None:
    assert _trained("judge")["test_accuracy"] >= 0.92
    assert _trained("time_dependent")["test_accuracy"] >= 0.88
    by_radius = [
        _trained(name)["robust_accuracy_pgd20"] for name in ("robust_r0", "robust_r025", "robust_r05", "robust")
    ]
    assert by_radius == sorted(by_radius)
    assert by_radius[-1] >= 0.70


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_figures_in_the_weight_files_are_true(fashion: Testbed) -> None:
    data = load_fashion_mnist()
    assert data.digest == _trained("judge")["data_sha256"]
    images, labels = to_unit_range(data.test_images[:1000]), data.test_labels[:1000]
    judge, robust = fashion.judge, fashion.classifiers["robust"]
    assert isinstance(judge, torch.nn.Module)
    assert isinstance(robust, torch.nn.Module)
    assert accuracy(judge, images, labels) == pytest.approx(_trained("judge")["test_accuracy"], abs=0.03)
    radius = _trained("robust")["robust_radius_l2"]
    measured = robust_accuracy(robust, images[:300], labels[:300], radius=radius)
    assert measured == pytest.approx(_trained("robust")["robust_accuracy_pgd20"], abs=0.1)


def test_guidance_moves_samples_to_the_class_and_to_the_data(fashion: Testbed) -> None:
    sampler = DDIM(10, eta=1.0)
    candidates = [
        Method("unguided", Guidance(), sampler),
        Method("robust", Guidance(ClassEnergy("robust"), Constant(8.0)), sampler),
        Method("timed", Guidance(Likelihood("time_dependent"), Constant(4.0)), sampler),
    ]
    unguided, *guided = Scorer(fashion, seed=0, samples_per_class=4).measure(candidates)
    for one in guided:
        assert one.accuracy > unguided.accuracy + 0.3
        assert one.kid < 0.7 * unguided.kid


def test_references_of_a_judge_are_close_to_zero_from_themselves(fashion: Testbed) -> None:
    from guidegym.metrics import class_kernels

    references = fashion.references
    assert references.features.shape == (10, 1000, references.features.shape[2])
    kernels = class_kernels(references.features[:, :200], references.features[:, 200:], references.self_term)
    spread = references.self_term.mean()
    assert abs(float(kernels.distance()[0])) < 0.05 * float(spread)


def test_an_unknown_or_empty_weights_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuideGymError, match="no weight file"):
        load_testbed("fashion", weights=tmp_path)
    with pytest.raises(GuideGymError, match="unknown testbed 'moon'"):
        load_testbed("moon")


@pytest.mark.parametrize("num_steps", [14, 15])
def test_the_ode_samples_the_class_with_any_number_of_evaluations(num_steps: int, fashion: Testbed) -> None:
    # A correction of the first step, from nearly pure noise, once made noise of every odd number.
    guidance = Guidance(Likelihood("time_dependent"), Constant(5.0))
    candidate = Method("ode", guidance, ProbabilityFlow(num_steps))
    (measured,) = Scorer(fashion, seed=0, samples_per_class=3).measure([candidate])
    assert measured.accuracy >= 0.7
