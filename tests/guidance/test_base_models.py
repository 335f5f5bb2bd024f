"""What guidance is added to: denoiser, conditional denoiser, a classifier alone; and how the engine asks for all of it."""

from dataclasses import replace

import pytest
import torch
from guide_inputs import T, class_score, mixture_of, points

from guidegym import (
    DDIM,
    DDPM,
    AtClean,
    ClassEnergy,
    ClassifierFree,
    ClassifierScore,
    ConditionalDenoiser,
    Constant,
    Engine,
    Guidance,
    GuideGymError,
    Interval,
    Likelihood,
    Momentum,
    OneHot,
    ProbabilityFlow,
    Similarity,
    Testbed,
    UnconditionalDenoiser,
    Uniform,
    rate_of_gamma,
    row_seeds,
    sample,
)
from guidegym.core.state import fork
from guidegym.evaluation.measuring.method import Method
from guidegym.guidance import BaseModel, diffusers_scale, weight_of_diffusers_scale
from guidegym.registry import registered
from guidegym.search import Scorer

LABEL = torch.tensor([0, 1, 1, 0])
EXAMPLES: dict[str, BaseModel] = {
    "denoiser": UnconditionalDenoiser(),
    "conditional": ConditionalDenoiser(),
    "classifier": ClassifierScore("exact", conditional=True),
}


def test_there_is_an_example_of_every_score() -> None:
    assert EXAMPLES.keys() == registered("base_model").keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_score_is_the_closed_form(exact: Testbed, name: str) -> None:
    mixture, x = mixture_of(exact), points()
    (eps, *_), cost = EXAMPLES[name].predict(exact, x, T, LABEL)
    sigma = exact.process.sigma(T, torch.float64)[:, None]
    if name == "denoiser":
        wanted = mixture.score(x, T.double())
    else:
        by_class = torch.stack([class_score(mixture, x, T, label) for label in range(2)])
        wanted = by_class[LABEL, torch.arange(4)]
    torch.testing.assert_close(eps, -sigma * wanted, rtol=1e-8, atol=1e-8)
    assert not eps.requires_grad
    assert cost.counts == ((0, 1, 1, 0) if name == "classifier" else (1, 0, 0, 0))


def test_an_exact_classifiers_density_is_the_denoiser(exact: Testbed) -> None:
    (eps, *_), _ = ClassifierScore("exact").predict(exact, points(), T, LABEL)
    torch.testing.assert_close(eps, exact.denoiser(points(), T.double()), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sampler", [DDIM(20), DDIM(20, eta=1.0), DDPM(20), ProbabilityFlow(19)])
def test_classifier_only_sampling_is_sampling_with_the_denoiser(exact: Testbed, sampler: DDIM) -> None:
    """Score for score the same chain, so what is shown of the one about the exact mixture holds for the other."""
    alone = Guidance(base_model=ClassifierScore("exact"))
    for own, beside in (
        (alone, Guidance()),
        (Guidance(Likelihood("exact"), Constant(1.0), base_model=ClassifierScore("exact")), None),
        (Guidance(base_model=ClassifierScore("exact", conditional=True)), Guidance(base_model=ConditionalDenoiser())),
    ):
        other = beside if beside is not None else Guidance(Likelihood("exact"), Constant(1.0))
        got = sample(exact, own, labels=[0, 1] * 8, sampler=sampler)
        wanted = sample(exact, other, labels=[0, 1] * 8, sampler=sampler)
        torch.testing.assert_close(got.x, wanted.x, rtol=1e-7, atol=1e-7)
        assert got.cost.denoiser == 0


def test_classifier_only_sampling_reproduces_the_conditional_distribution(exact: Testbed) -> None:
    num = 4000
    guidance = Guidance(base_model=ClassifierScore("exact", conditional=True))
    x = sample(exact, guidance, labels=[1] * num, sampler=DDIM(60, eta=1.0), batch_size=num).x
    mixture = mixture_of(exact)
    nearest = (x[:, None] - mixture.means[1]).norm(dim=2).argmin(dim=1)
    shares = torch.bincount(nearest, minlength=3) / num
    torch.testing.assert_close(shares.double(), mixture.shares[1], rtol=0, atol=0.035)
    for mode in range(3):
        own = x[nearest == mode]
        error = 4 * float(mixture.spreads[1, mode]) / len(own) ** 0.5 + 0.02
        assert float((own.mean(dim=0) - mixture.means[1, mode]).abs().max()) < error


def test_classifier_free_guidance_is_the_papers_formula_and_diffusers(exact: Testbed) -> None:
    weight, x, t = 1.7, points(), T
    engine = Engine(exact, DDIM(4), ClassifierFree(), ConditionalDenoiser())
    state = replace(engine.start(LABEL, row_seeds(0, 4)), x=x, step=torch.tensor([3, 2, 1, 0]))
    t, _ = engine.at(state)
    prediction = engine.predict(state)
    assert prediction.gradient is not None
    sigma = exact.process.sigma(t, torch.float64)[:, None]
    got = prediction.eps - weight * sigma * prediction.gradient
    any_class = exact.denoiser(x, t.double())
    conditional = exact.conditional("conditional")(x, t.double(), LABEL)
    torch.testing.assert_close(got, (1 + weight) * conditional - weight * any_class)
    scale = diffusers_scale(weight)
    torch.testing.assert_close(got, any_class + scale * (conditional - any_class))
    assert diffusers_scale(0.0) == 1.0
    assert weight_of_diffusers_scale(1.0) == 0.0
    assert weight_of_diffusers_scale(diffusers_scale(weight)) == pytest.approx(weight)
    # Off is the conditional network alone, and asks nothing else.
    off = sample(exact, Guidance(ClassifierFree(), base_model=ConditionalDenoiser()), labels=[0, 1], sampler=DDIM(4))
    alone = sample(exact, Guidance(base_model=ConditionalDenoiser()), labels=[0, 1], sampler=DDIM(4))
    assert torch.equal(off.x, alone.x)
    assert off.cost.total == 2 * 4


@pytest.mark.parametrize(
    "guide", [Likelihood("exact"), AtClean(ClassEnergy("exact")), Momentum(AtClean(Likelihood("exact")), decay=0.5)]
)
def test_rows_that_are_guided_in_an_interval_are_as_if_all_were_asked(exact: Testbed, guide: Likelihood) -> None:
    """Two weight curves in one batch: where only one of them is on, the guide is asked for half of the rows."""
    sampler, labels = DDIM(8, eta=1.0), [0, 1, 1]
    early, late = (Guidance(guide, Interval(1.5, 0.0, *ends)) for ends in ((0.0, 0.5), (0.3, 1.0)))
    alone = [sample(exact, guidance, labels=labels, sampler=sampler) for guidance in (early, late)]
    scorer = Scorer(exact, seed=0, samples_per_class=3)
    together = scorer.measure([Method("early", early, sampler), Method("late", late, sampler)])
    seeds, rows = scorer.seeds, torch.arange(6) % 2
    for guidance, measured in zip((early, late), together, strict=True):
        own = sample(exact, guidance, labels=rows, seeds=seeds, sampler=sampler)
        torch.testing.assert_close(measured.own.shown, own.x, rtol=1e-9, atol=1e-9)
        assert torch.equal(measured.own.evaluations, own.evaluations)
    assert alone[0].cost.guide_backward == 3 * 4


def test_moving_targets_share_a_batch(exact: Testbed) -> None:
    sampler = DDIM(6)
    guidances = [
        Guidance(Likelihood("exact"), Constant(1.0)),
        Guidance(Likelihood("exact"), Constant(1.0), rate=Constant(rate_of_gamma(0.04)), target=Uniform()),
        Guidance(Likelihood("exact"), Constant(2.0), target=Uniform()),
    ]
    scorer = Scorer(exact, seed=3, samples_per_class=2)
    calls = 0
    denoiser = exact.denoiser

    def counted(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return denoiser(x, t)

    counting = replace(scorer, testbed=replace(exact, denoiser=counted))
    together = counting.measure([Method(str(i), guidance, sampler) for i, guidance in enumerate(guidances)])
    assert calls == 6  # one a step for all candidates
    for guidance, measured in zip(guidances, together, strict=True):
        own = sample(exact, guidance, labels=[0, 1, 0, 1], seeds=scorer.seeds, sampler=sampler)
        torch.testing.assert_close(measured.own.shown, own.x, rtol=1e-10, atol=1e-10)


def test_momentum_is_the_running_mean_over_a_trajectory_and_forks_with_it(exact: Testbed) -> None:
    engine = Engine(exact, DDIM(5), Momentum(ClassEnergy("exact"), decay=0.6))
    plain = Engine(exact, DDIM(5), ClassEnergy("exact"))
    state, weight = engine.start(torch.tensor([0, 1]), row_seeds(1, 2)), torch.ones(2, dtype=torch.float64)
    mean = torch.zeros(2, 2, dtype=torch.float64)
    for _ in range(3):
        gradient = plain.predict(state).gradient
        assert gradient is not None
        mean = 0.6 * mean + 0.4 * gradient
        prediction = engine.predict(state)
        torch.testing.assert_close(prediction.gradient, mean)
        state = engine.advance(state, prediction, weight)
        torch.testing.assert_close(state.memory, mean)
    alone = fork(state, torch.tensor([1]))
    torch.testing.assert_close(engine.step(alone, weight[:1]).x, engine.step(state, weight).x[1:])


def test_every_cost_is_counted(exact: Testbed) -> None:
    weight = Constant(1.0)
    for guidance, counts in (
        (Guidance(), (4, 0, 0, 0)),
        (Guidance(Likelihood("exact"), weight), (4, 4, 4, 0)),
        (Guidance(AtClean(Likelihood("exact")), weight), (4, 4, 4, 4)),
        (Guidance(AtClean(Likelihood("exact"), jacobian=False), weight), (4, 4, 4, 0)),
        (Guidance(ClassifierFree(), weight, base_model=ConditionalDenoiser()), (8, 0, 0, 0)),
        (Guidance(ClassifierFree(), weight), (12, 0, 0, 0)),
        (Guidance(base_model=ClassifierScore("exact")), (0, 4, 4, 0)),
    ):
        assert sample(exact, guidance, labels=[0], sampler=DDIM(4)).cost.counts == counts, guidance


def test_what_a_testbed_lacks_is_named(exact: Testbed) -> None:
    bare = replace(exact, conditionals={})
    for guidance, message in (
        (Guidance(base_model=ConditionalDenoiser()), "has no conditional denoiser"),
        (Guidance(base_model=ClassifierScore("other")), "has no classifier 'other'"),
        (Guidance(Likelihood("exact"), Constant(1.0), target=Similarity("clip")), "has no similarities from 'clip'"),
    ):
        with pytest.raises(GuideGymError, match=message):
            sample(bare, guidance, labels=[0], sampler=DDIM(2))
    assert Guidance(target=OneHot()) == Guidance()


@pytest.mark.slow
def test_fashion_under_ve_is_as_good_as_under_vp(fashion: Testbed) -> None:
    from guidegym.testbeds import variance_exploding

    guidance, accuracy = Guidance(ClassEnergy("time_dependent"), Constant(3.0)), []
    for testbed in (fashion, variance_exploding(fashion)):
        samples = sample(testbed, guidance, labels=list(range(10)) * 4, sampler=DDIM(15, eta=1.0))
        predicted = testbed.seen(samples.x).logits.argmax(dim=1)
        accuracy.append(float((predicted == samples.labels).double().mean()))
    assert min(accuracy) > 0.8, accuracy
