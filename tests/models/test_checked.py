"""How networks are asked: with tensors of their own, the time in full, and an answer of the right shape."""

import dataclasses
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import guidegym as gg
from guidegym import DDIM, Engine, Guidance, GuideGymError, Testbed
from guidegym.attacks.carlini_wagner import carlini_wagner_l2
from guidegym.attacks.pgd import pgd
from guidegym.metrics.gradients import density_score, log_likelihood_gradient
from guidegym.testbeds.gaussians import load_gaussians

LABELS = [0, 1, 1, 0]
GUIDANCE = Guidance(gg.Likelihood("exact"), gg.Constant(2.0))


def _sampled(testbed: Testbed, guidance: Guidance = GUIDANCE, steps: int = 5) -> Tensor:
    return gg.sample(testbed, guidance, labels=LABELS, sampler=DDIM(steps)).x


def _changes_its_input(network: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def changed(x: Tensor, t: Tensor, *further: Tensor) -> Tensor:
        answer = network(x, t, *further)
        with torch.no_grad():
            for one in (x, t, *further):
                one.zero_()
        return answer

    return changed


def test_networks_that_change_their_input_change_nothing_else(exact: Testbed) -> None:
    conditional = Guidance(gg.ClassifierFree(), gg.Constant(2.0), base_model=gg.ConditionalDenoiser())
    for guidance in (GUIDANCE, conditional):
        rude = dataclasses.replace(
            exact,
            denoiser=_changes_its_input(exact.denoiser),
            classifiers={"exact": _changes_its_input(exact.classifiers["exact"])},
            conditionals={"conditional": _changes_its_input(exact.conditionals["conditional"])},
        )
        torch.testing.assert_close(_sampled(rude, guidance), _sampled(exact, guidance), rtol=0, atol=0)


def test_judges_that_change_their_input_change_nothing_else(exact: Testbed) -> None:
    class Rude:
        def features(self, x: Tensor) -> Tensor:
            return x.mul_(0.5)

        def classify(self, features: Tensor) -> Tensor:
            return features.mul_(3.0)

    x = torch.ones(3, 2, dtype=torch.float64)
    testbed = dataclasses.replace(exact, judge=Rude(), judges={})
    seen = testbed.seen(x)
    assert float(x.min()) == 1.0
    torch.testing.assert_close(seen.logits, 3 * seen.features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_networks_are_told_the_sampler_s_own_timesteps_in_any_precision(dtype: torch.dtype) -> None:
    testbed = load_gaussians(torch.device("cpu"), dtype=dtype)
    told: list[float] = []

    def noting(network: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def asked(x: Tensor, t: Tensor, *further: Tensor) -> Tensor:
            assert t.dtype in (torch.float32, torch.float64)
            told.extend(t.tolist())
            return network(x, t, *further)

        return asked

    noted = dataclasses.replace(
        testbed, denoiser=noting(testbed.denoiser), classifiers={"exact": noting(testbed.classifiers["exact"])}
    )
    x = _sampled(noted, steps=100)
    assert x.dtype == dtype
    assert bool(x.isfinite().all())
    assert set(told) == set(DDIM(100).timesteps(testbed.process)[:-1].tolist())


@pytest.mark.parametrize("name", ["gaussians", "gaussians-ve"])
def test_bfloat16_samples_are_those_of_double_precision_to_its_rounding(name: str) -> None:
    process = gg.VEProcess() if name.endswith("ve") else gg.VPProcess("linear")
    low, high = (
        load_gaussians(torch.device("cpu"), dtype=dtype, process=process) for dtype in (torch.bfloat16, torch.float64)
    )
    torch.testing.assert_close(
        _sampled(low, Guidance(), 50).double(), _sampled(high, Guidance(), 50), rtol=0.1, atol=0.15
    )


def test_a_network_of_another_precision_gets_the_samples_in_its_own() -> None:
    digits = gg.load_testbed("digits")
    assert isinstance(digits.denoiser, nn.Module)
    import copy

    double = dataclasses.replace(digits, denoiser=copy.deepcopy(digits.denoiser).double())
    single = gg.sample(digits, labels=[0, 1], sampler=DDIM(4)).x
    again = gg.sample(double, labels=[0, 1], sampler=DDIM(4)).x
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, single, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x[:, :1], "classifier 'exact' of model 'gaussians' must return logits of shape (4, 2)"),
        (lambda x: x[:, 0], "must return logits of shape (4, 2), one per class, got (4,)"),
        (lambda x: torch.cat([x, x], dim=1), "must return logits of shape (4, 2), one per class, got (4, 4)"),
        (lambda x: (x,), "must return a tensor, or an object whose `sample` is one, got tuple"),
    ],
)
def test_a_classifier_of_another_shape_is_refused(exact: Testbed, answer: Callable[[Tensor], Any], said: str) -> None:
    wrong = dataclasses.replace(exact, classifiers={"exact": lambda x, t: answer(x)})
    with pytest.raises(GuideGymError, match=said.replace("(", r"\(").replace(")", r"\)")):
        _sampled(wrong)


def test_a_denoiser_may_return_an_object_with_a_sample_and_nothing_else(exact: Testbed) -> None:
    def as_diffusers_do(x: Tensor, t: Tensor) -> Any:
        return SimpleNamespace(sample=exact.denoiser(x, t))

    wrapped = dataclasses.replace(exact, denoiser=as_diffusers_do)
    torch.testing.assert_close(_sampled(wrapped), _sampled(exact), rtol=0, atol=0)
    answers: tuple[Callable[[Tensor, Tensor], Any], ...] = (lambda x, t: (x,), lambda x, t: None, lambda x, t: x[:, :1])
    for wrong in answers:
        with pytest.raises(GuideGymError, match="the denoiser of model 'gaussians' must return"):
            _sampled(dataclasses.replace(exact, denoiser=wrong))


def test_a_judge_of_another_shape_is_refused(exact: Testbed) -> None:
    class Flat:
        def features(self, x: Tensor) -> Tensor:
            return x[:, 0]

        def classify(self, features: Tensor) -> Tensor:
            return features

    testbed = dataclasses.replace(exact, judge=Flat(), judges={})
    with pytest.raises(GuideGymError, match=r"features must have shape \(3, dim\), got \(3,\)"):
        testbed.seen(torch.zeros(3, 2))

    class Wide(Flat):
        def features(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 5)

    with pytest.raises(GuideGymError, match=r"logits of shape \(3, 2\), got \(3, 5\)"):
        dataclasses.replace(exact, judge=Wide(), judges={}).seen(torch.zeros(3, 2))


def test_probabilities_in_place_of_logits_are_warned_of_once(exact: Testbed) -> None:
    certain = dataclasses.replace(
        exact, classifiers={"exact": lambda x, t: exact.classifiers["exact"](x, t).softmax(dim=1)}
    )
    with pytest.warns(UserWarning, match="seems to return probabilities") as caught:
        _sampled(certain)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _sampled(exact)


def test_train_mode_is_warned_of_where_it_makes_rows_depend_on_each_other(exact: Testbed) -> None:
    class Denoiser(nn.Module):
        def __init__(self, *layers: nn.Module) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            answer: Tensor = self.layers(x)
            return answer

    for layer in (nn.Dropout(0.1), nn.BatchNorm1d(2)):
        network = Denoiser(nn.Linear(2, 2), layer).double()
        with pytest.warns(UserWarning, match=r"is in train mode .* call `.eval\(\)` on it"):
            _sampled(dataclasses.replace(exact, denoiser=network), Guidance())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _sampled(dataclasses.replace(exact, denoiser=network.eval()), Guidance())
            _sampled(dataclasses.replace(exact, denoiser=Denoiser(nn.Linear(2, 2)).double().train()), Guidance())


def test_guidance_works_inside_inference_mode(exact: Testbed) -> None:
    jacobian = Guidance(gg.AtClean(gg.Likelihood("exact")), gg.Constant(1.0))
    for guidance in (GUIDANCE, jacobian):
        wanted = _sampled(exact, guidance)
        with torch.inference_mode():
            labels = torch.tensor(LABELS)
            got = gg.sample(exact, guidance, labels=labels, seeds=gg.row_seeds(0, 4), sampler=DDIM(5)).x
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_gradients_and_attacks_work_inside_inference_mode(exact: Testbed) -> None:
    classify = exact.classifier("exact")
    x, labels, t = torch.randn(4, 2, dtype=torch.float64), torch.tensor(LABELS), torch.zeros(4)

    def all_of_them(x: Tensor, labels: Tensor, t: Tensor) -> list[Tensor]:
        return [
            density_score(classify, x, t),
            log_likelihood_gradient(classify, x, t, labels),
            pgd(classify, x, labels, t=t, radius=0.5, num_steps=3, bounds=None),
            carlini_wagner_l2(classify, x, labels, t=t, num_steps=5, search_steps=2, bounds=(-9.0, 9.0)).norms,
        ]

    wanted = all_of_them(x, labels, t)
    with torch.inference_mode():
        got = all_of_them(x.clone(), labels.clone(), t.clone())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_chain_that_would_not_start_from_noise_is_refused(exact: Testbed) -> None:
    with pytest.raises(GuideGymError, match=r"`sampler` starts at time 0, .* or spacing 'trailing'"):
        Engine(exact, DDIM(1, spacing="leading"))
    cosine = dataclasses.replace(exact, process=gg.VPProcess("cosine"))
    with pytest.warns(UserWarning, match="starts at time 750"):
        Engine(cosine, DDIM(4, spacing="leading"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for steps in (10, 20, 50):
            Engine(cosine, DDIM(steps, spacing="leading"))
        Engine(cosine, DDIM(1))
