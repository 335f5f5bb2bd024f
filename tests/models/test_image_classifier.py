"""Classifiers of images: networks of torchvision and timm, and their kind, as guides and judges."""

import copy
import dataclasses
import functools
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, mobilenet_v3_small, resnet18
from torchvision.transforms.v2 import Compose, Normalize, Resize

import guidegym as gg
from guidegym import GuideGymError
from guidegym.attacks.pgd import pgd
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.sample_set import look
from guidegym.models import ImageClassifier
from guidegym.networks import network_digest
from guidegym.search import Study
from guidegym.testbeds import JudgeNetwork, references_from_features, seen_by

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES, CLASSES = ("red", "green", "blue"), [5, 0, 3]
SHAPE = (3, 16, 16)


@functools.cache
def _network() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = resnet18(weights=None, num_classes=7)
    return network.eval()


def _images(num: int = 4, channels: int = 3, size: int = 16) -> Tensor:
    return 2 * torch.rand(num, channels, size, size, generator=torch.Generator().manual_seed(1)) - 1


def _gaussian(name: str = "mine", **further: Any) -> dict[str, Any]:
    """Return the arguments of a model whose clean images are white noise of half the range."""
    process = gg.VPProcess("linear")

    def noise(x: Tensor, t: Tensor) -> Tensor:
        signal, sigma = (one(t)[:, None, None, None] for one in (process.alpha_bar, process.sigma))
        return sigma * x / (0.25 * signal + sigma**2)

    return {"process": process, "denoiser": noise, "event_shape": SHAPE, "class_names": NAMES, "name": name, **further}


class Noting(nn.Module):
    """A network that notes what it gets."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda images: torch.zeros(len(images), 3)) -> None:
        super().__init__()
        self.answer, self.got = answer, list[Tensor]()

    def forward(self, images: Tensor) -> Any:
        self.got.append(images)
        return self.answer(images)


@pytest.mark.parametrize("size", [8, 15, 16, 33, (12, 20)])
def test_a_network_gets_what_torchvision_s_transforms_give_it(size: int | tuple[int, int]) -> None:
    network, x = Noting(), _images()
    gg.image_classifier(network, size=size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))(x)
    pair = (size, size) if isinstance(size, int) else size
    wanted = Compose([Resize(pair, antialias=True), Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))])((x + 1) / 2)
    torch.testing.assert_close(network.got[0], wanted, rtol=0, atol=2e-6)


def test_imagenet_s_normalisation_is_the_default_and_a_timm_network_tells_its_own() -> None:
    network, x = Noting(), _images()
    gg.image_classifier(network)(x)
    network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "input_size": (3, 8, 8)}  # type: ignore[assignment]
    gg.image_classifier(network)(x)
    gg.image_classifier(network, mean=MEAN, std=STD)(x)
    for got, wanted in zip(network.got, (Normalize(MEAN, STD)((x + 1) / 2), x, network.got[0]), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)


def test_logits_are_the_network_s_own_of_the_chosen_classes() -> None:
    x = _images()
    wanted = _network()(Compose([Resize((24, 24), antialias=True), Normalize(MEAN, STD)])((x + 1) / 2))
    torch.testing.assert_close(gg.image_classifier(_network(), size=24)(x, torch.zeros(4)), wanted)
    for classes in (CLASSES, tuple(CLASSES), torch.tensor(CLASSES)):
        some = gg.image_classifier(_network(), size=24, classes=classes)(x)
        torch.testing.assert_close(some, wanted[:, CLASSES])
    as_transformers_do = Noting(lambda images: SimpleNamespace(logits=_network()(images)))
    torch.testing.assert_close(gg.image_classifier(as_transformers_do, size=24)(x), wanted)


def test_a_grey_channel_is_repeated_where_the_network_has_three() -> None:
    grey = _images(channels=1)
    classifier = gg.image_classifier(_network(), size=24)
    torch.testing.assert_close(classifier(grey), classifier(grey.expand(-1, 3, -1, -1)))
    network = Noting()
    gg.image_classifier(network, mean=(0.5,), std=(0.5,))(grey)
    torch.testing.assert_close(network.got[0], grey)


def test_many_images_pass_in_parts_and_none_at_all_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidegym.models.classifier_of_images.PIXELS", 2 * 24 * 24)
    network = Noting(_network())
    classifier = gg.image_classifier(network, size=24, head="answer.fc")
    together = gg.image_classifier(_network(), size=24)(_images(5))
    torch.testing.assert_close(classifier(_images(5)), together, rtol=1e-4, atol=1e-4)
    assert [len(one) for one in network.got] == [2, 2, 1]
    assert classifier.features(_images(5)).shape == (5, 512)
    assert classifier(_images(0)).shape == (0, 7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_gets_images_of_its_own(dtype: torch.dtype) -> None:
    network = copy.deepcopy(_network()).to(dtype)
    model = gg.Model(**_gaussian(classifiers={"net": gg.image_classifier(network, size=24, classes=CLASSES)}))
    logits = model.classifier("net")(_images(), torch.zeros(4))
    assert logits.dtype == torch.float32
    wanted = gg.image_classifier(_network(), size=24, classes=CLASSES)(_images())
    loose = 0.1 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(logits, wanted, rtol=loose, atol=loose * float(wanted.detach().abs().max()))


@pytest.mark.parametrize("jacobian", [True, False])
def test_it_guides_samples_to_its_classes_at_the_clean_estimate(jacobian: bool) -> None:
    classifier = gg.image_classifier(_network(), size=24, classes=CLASSES)
    model = gg.Model(**_gaussian(classifiers={"net": classifier}))
    labels = torch.arange(6) % 3

    def wanted(weight: float) -> Tensor:
        guidance = gg.Guidance(gg.AtClean(gg.Likelihood("net"), jacobian=jacobian), gg.Constant(weight))
        samples = gg.sample(model, guidance, labels=labels, seeds=gg.row_seeds(0, 6), sampler=gg.DDIM(6))
        logits: Tensor = classifier(samples.x).detach()
        return logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]

    strong = wanted(30.0)
    assert bool((strong > wanted(0.0)).all())
    with torch.inference_mode():
        inside = gg.image_classifier(_network(), size=24, classes=CLASSES)
        model = dataclasses.replace(model, classifiers={"net": inside})
        torch.testing.assert_close(wanted(30.0), strong)


def _testbed(judge: JudgeNetwork, **further: Any) -> gg.Testbed:
    """Return a testbed whose real data are noise, with a judge of three classes."""
    labels = torch.arange(30) % 3
    features = seen_by(judge, 0.5 * torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(2))).features
    references = references_from_features(features, labels, num_classes=3, kept=10, extractor="a network")
    return gg.Testbed(**_gaussian(judge=judge, references=references, **further))


def test_it_judges_by_the_accuracy_of_a_search_and_of_an_evaluation() -> None:
    classifier = gg.image_classifier(_network(), size=24, classes=CLASSES)
    assert isinstance(classifier, JudgeNetwork)
    testbed = _testbed(
        classifier, classifiers={"net": classifier}, judges={"one": classifier, "other": copy.copy(classifier)}
    )

    def guidance(weight: float) -> gg.Guidance:
        return gg.Guidance(gg.AtClean(gg.Likelihood("net")), gg.Constant(weight))

    def own_accuracy(finished: gg.Finished) -> Tensor:
        logits: Tensor = classifier(finished.images)
        assert not logits.requires_grad  # a graph of all samples together would not fit
        return (logits.argmax(dim=1) == finished.labels).double()

    study = Study(
        name="judged",
        description="A weight",
        testbed="mine",
        sampler=gg.DDIM(6),
        space=lambda trial: guidance(trial.suggest_float("weight", 0, 50)),
        objectives=(gg.objectives.find_objective("accuracy"), gg.Objective("own", own_accuracy)),
    )
    score = gg.objective(study, testbed)
    none, strong = (score(optuna.trial.FixedTrial({"weight": weight})) for weight in (0.0, 50.0))  # type: ignore[arg-type]
    assert isinstance(none, tuple)
    assert isinstance(strong, tuple)
    assert none[0] == none[1] < 0.6
    assert strong[0] == strong[1] > 0.9

    samples = gg.sample(testbed, guidance(50.0), labels=torch.arange(6) % 3, sampler=gg.DDIM(6))
    own = look(Method("strong", guidance(50.0), gg.DDIM(6)), samples, testbed, judge_extractor(testbed))
    assert own.features.shape == (6, 512)
    assert bool(own.hits.all())
    assert own.hits.shape == (6, 2)


@pytest.mark.parametrize(
    ("network", "dim"),
    [
        (_network, 512),
        (lambda: mobilenet_v3_small(weights=None, num_classes=7).eval(), 1024),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 9), nn.ReLU(), nn.Linear(9, 7)), 9),
    ],
)
def test_a_judge_s_features_are_what_its_last_layer_gets(network: Callable[[], nn.Module], dim: int) -> None:
    classifier, x = gg.image_classifier(network(), classes=CLASSES), _images()
    seen = seen_by(classifier, x)
    assert seen.features.shape == (4, dim)
    torch.testing.assert_close(seen.logits, classifier(x).detach())
    moved = pgd(
        lambda x: classifier.classify(classifier.features(x)), x, torch.zeros(4).long(), radius=0.5, num_steps=2
    )
    assert float((moved - x).abs().max()) > 0


def test_features_survive_numbers_that_are_none() -> None:
    x = torch.full((2, *SHAPE), torch.nan)
    assert gg.image_classifier(_network(), size=24).features(x).shape == (2, 512)


def test_a_head_that_is_not_the_last_layer_is_refused() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3))

    body = nn.Sequential(nn.Conv2d(3, 7, 3), Mean())
    for network, head, said in (
        (body, None, "`head` must name the last layer .*; the network has no linear layer"),
        (nn.Sequential(body, nn.Linear(7, 7), nn.ReLU()), None, "`head` must name .*; '1' returns something else than"),
        (nn.Sequential(body, nn.Linear(7, 7)), "0.0", "`head` must name .*; '0.0' returns something else than"),
    ):
        classifier = gg.image_classifier(network, head=head)
        assert classifier(_images()).shape == (4, 7)
        with pytest.raises(GuideGymError, match=said):
            classifier.features(_images())
    with pytest.raises(GuideGymError, match="`head` must be the name of one of the network's layers, got 'fc2'"):
        gg.image_classifier(body, head="fc2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 0}, "`size` must be a whole number >= 1, got 0"),
        ({"size": -8}, "`size` must be a whole number >= 1, got -8"),
        ({"size": (8, 0)}, "`size` must be a whole number >= 1, got 0"),
        ({"size": (8, 8, 8)}, r"`size` must be a height and a width, got \(8, 8, 8\)"),
        ({"size": 22.4}, "`size` must be a whole number >= 1, got 22.4"),
        ({"mean": MEAN}, "`std` must be given together with `mean`, or neither"),
        ({"mean": MEAN, "std": (0.2,)}, "`std` must have 3 numbers, as `mean`, got 1"),
        ({"mean": 0.5, "std": 0.5}, "`mean` must have a number for each channel, got 0.5"),
        ({"mean": ("a",), "std": (0.5,)}, "`mean` must be a finite number, got 'a'"),
        ({"mean": (0.5,), "std": (0.0,)}, "`std` must be > 0, got 0.0"),
        ({"classes": []}, r"`classes` must have one of the network's outputs for each class, got \[\]"),
        ({"classes": "281"}, "`classes` must have one of the network's outputs for each class, got '281'"),
        ({"classes": [3, -1]}, "`classes` must be a whole number >= 0, got -1"),
        ({"classes": [3, 3]}, r"`classes` must be different, got \[3, 3\]"),
        ({"network": lambda images: images}, "`network` must be a torch.nn.Module, got <function"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GuideGymError, match=said):
        gg.image_classifier(**{"network": _network(), **given})


def test_wrong_images_and_networks_are_refused_in_one_line() -> None:
    transformer = VisionTransformer(image_size=8, patch_size=4, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=4)
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    for classifier, x, said in (
        (
            gg.image_classifier(_network()),
            _images(channels=4),
            r"with 1 or 3 channels, .* got \(4, 4, 16, 16\); latents",
        ),
        (gg.image_classifier(_network()), torch.zeros(4, 2), r"takes images of shape .*, got \(4, 2\)"),
        (gg.image_classifier(grey, mean=(0.5,), std=(0.5,)), _images(), r"with 1 channel, got \(4, 3, 16, 16\)"),
        (
            gg.image_classifier(grey),
            _images(),
            "`mean` must have a number for each channel of the network's images, got 3",
        ),
        (
            gg.image_classifier(transformer),
            _images(),
            r"`size` must be that of the network's images, got \(16, 16\): Wrong",
        ),
        (
            gg.image_classifier(nn.Sequential(nn.Flatten(), nn.Linear(9, 3))),
            _images(),
            "`size` must be .*: mat1 and mat2",
        ),
        (gg.image_classifier(nn.Conv2d(3, 3, 17)), _images(), "`size` must be .* Kernel size can't be greater"),
        (
            gg.image_classifier(_network(), classes=[2, 7]),
            _images(),
            "`classes` must be in 0..6, as .* 7 outputs, got 7",
        ),
        (
            gg.image_classifier(Noting(lambda images: images)),
            _images(),
            r"logits of shape \(4, outputs\), .* got \(4, 3, 16",
        ),
        (gg.image_classifier(Noting(lambda images: [images])), _images(), "must return logits of shape .*, got list"),
    ):
        with pytest.raises(GuideGymError, match=said) as caught:
            classifier(x)
        assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="other"):
        gg.image_classifier(Noting(_fails))(_images())


def _fails(images: Tensor) -> Tensor:
    raise RuntimeError("something other")


def test_more_logits_than_classes_are_refused_with_the_remedy() -> None:
    classifier = gg.image_classifier(_network(), size=24)
    said = r"logits of shape \(4, 3\), .*got \(4, 7\); .* 3 `class_names`: .* gg.image_classifier\(network, classes=\[...\]\)"
    model = gg.Model(**_gaussian(classifiers={"net": classifier}))
    with pytest.raises(GuideGymError, match="classifier 'net' of model 'mine' must return " + said):
        model.classifier("net")(_images(), torch.zeros(4))
    with pytest.raises(GuideGymError, match="the judge of testbed 'mine' must return " + said.replace(".*got", "got")):
        _testbed(classifier).seen(_images())
    fitting = gg.image_classifier(_network(), size=24, classes=CLASSES)
    bank = _testbed(fitting, judges={"one": fitting, "wide": classifier})
    samples = gg.sample(bank, labels=[0, 1, 2, 0], sampler=gg.DDIM(2))
    with pytest.raises(GuideGymError, match="judge 'wide' of testbed 'mine' must return "):
        look(Method("none", gg.Guidance(), gg.DDIM(2)), samples, bank, judge_extractor(bank))


def test_probabilities_are_warned_of_once_even_if_only_some_are_chosen() -> None:
    network = Noting(lambda images: _network()(images).softmax(dim=1))
    classifiers = {"some": gg.image_classifier(network, size=24, classes=CLASSES)}
    model = gg.Model(**_gaussian(classifiers=classifiers))
    with pytest.warns(UserWarning, match="the network of image_classifier seems to return probabilities") as caught:
        for _ in range(2):
            model.classifier("some")(_images(), torch.zeros(4))
    assert len(caught) == 1
    names = tuple(map(str, range(7)))
    model = gg.Model(**_gaussian(classifiers={"all": gg.image_classifier(network, size=24)}, class_names=names))
    with pytest.warns(UserWarning, match="classifier 'all' of model 'mine' seems to return probabilities") as caught:
        model.classifier("all")(_images(), torch.zeros(4))
    assert len(caught) == 1


def test_train_mode_is_not_hidden() -> None:
    network = copy.deepcopy(_network()).train()
    model = gg.Model(**_gaussian(classifiers={"net": gg.image_classifier(network, classes=CLASSES)}))
    with pytest.warns(UserWarning, match="classifier 'net' of model 'mine' is in train mode"):
        model.classifier("net")(_images(), torch.zeros(4))
    with pytest.warns(UserWarning, match="the judge of testbed 'mine' is in train mode"):
        _testbed(gg.image_classifier(network, classes=CLASSES))
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _testbed(gg.image_classifier(network, classes=CLASSES))


def test_equal_digests_mean_equal_classifiers() -> None:
    def made(**further: Any) -> ImageClassifier:
        return gg.image_classifier(_network(), **further)

    assert network_digest(made(classes=[1, 2])) == network_digest(made(classes=(1, 2)))
    others = [made(), made(classes=[1, 2]), made(classes=[2, 1]), made(size=24), made(mean=MEAN, std=(1, 1, 1))]
    assert len({network_digest(one) for one in others}) == len(others)


def test_it_moves_with_its_network() -> None:
    classifier = gg.image_classifier(copy.deepcopy(_network()).to("meta")).to("meta")
    assert {one.device.type for one in classifier.state_dict().values()} == {"meta"}
