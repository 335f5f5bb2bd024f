import dataclasses

import optuna
import pytest
import torch
from guidegym.studies import sigmoid_schedule

from guidegym import DDIM, ClassEnergy, Constant, Guidance, Likelihood, Sigmoid, Testbed, objective, row_seeds, sample
from guidegym.evaluation.measuring.method import Method
from guidegym.metrics.resampling import Estimate, resampling_weights
from guidegym.search import Scorer
from guidegym.search.confirm import confirm

SAMPLER = DDIM(12)
GOOD = Method("good", Guidance(Likelihood("exact"), Constant(1.0)), SAMPLER)
SIGMOID = Method("sigmoid", Guidance(Likelihood("exact"), Sigmoid(2.0, 0.1, 500.0, 0.02)), SAMPLER)
UNGUIDED = Method("unguided", Guidance(), SAMPLER)
NOISY = Method("noisy", Guidance(ClassEnergy("exact"), Constant(0.3)), DDIM(12, eta=1.0))


def test_a_row_of_a_search_batch_equals_plain_sampling(exact: Testbed) -> None:
    scorer = Scorer(exact, seed=5, samples_per_class=9, batch_size=7)
    measured = scorer.measure([GOOD, UNGUIDED, SIGMOID, NOISY])
    assert [one.method.name for one in measured] == ["good", "unguided", "sigmoid", "noisy"]
    for one in measured:
        alone = sample(
            exact,
            one.method.guidance,
            labels=torch.arange(18) % 2,
            seeds=row_seeds(5, 18),
            sampler=one.method.sampler,
        )
        torch.testing.assert_close(one.own.shown, alone.x, rtol=1e-9, atol=1e-9)
        assert torch.equal(one.own.shown_labels, alone.labels)
        assert torch.equal(one.own.evaluations, alone.evaluations)


def test_a_row_of_a_search_batch_of_images_equals_plain_sampling(fashion: Testbed) -> None:
    sampler = DDIM(4)
    candidates = [
        Method(str(scale), Guidance(ClassEnergy("robust"), Constant(scale)), sampler) for scale in (1.0, 6.0, 20.0)
    ]
    measured = Scorer(fashion, seed=1, samples_per_class=2).measure(candidates)
    for one in measured:
        alone = sample(
            fashion, one.method.guidance, labels=torch.arange(20) % 10, seeds=row_seeds(1, 20), sampler=sampler
        )
        torch.testing.assert_close(one.own.shown, alone.x, rtol=1e-3, atol=5e-3)


def test_guided_samples_score_better_than_unguided_ones(exact: Testbed) -> None:
    good, unguided = Scorer(exact, seed=0, samples_per_class=200).measure([GOOD, UNGUIDED])
    assert good.kid < 0.2 * unguided.kid
    assert good.accuracy > 0.9 > unguided.accuracy
    assert good.own.evaluations_per_sample == 36
    assert unguided.own.evaluations_per_sample == 12


def test_a_candidate_with_failed_samples_gets_the_floor(exact: Testbed) -> None:
    wild = Method("wild", Guidance(Likelihood("exact"), Constant(1e300)), SAMPLER)
    scorer = Scorer(exact, seed=0, samples_per_class=4)
    failed, good = scorer.measure([wild, GOOD])
    assert failed.own.num_failed == 8
    assert failed.kid == scorer.floor
    assert failed.accuracy == 0.0
    assert good.own.num_failed == 0
    assert good.kid < scorer.floor


def test_samples_that_ran_away_are_at_the_floor_and_never_the_best(exact: Testbed) -> None:
    scorer = Scorer(exact, seed=0, samples_per_class=4)
    runaways = [
        Method(f"x{scale:g}", Guidance(ClassEnergy("exact"), Constant(scale)), SAMPLER) for scale in (20.0, 1e3, 1e6)
    ]
    for one in scorer.measure(runaways):
        assert one.own.num_failed > 0
        assert one.kid == scorer.floor
    confirmed = confirm(scorer.measure([*runaways, GOOD]), seed=0)
    assert confirmed[0].name == "good"
    assert confirmed[-1].numbers["kid"].estimate == Estimate(scorer.floor, scorer.floor, scorer.floor)


def test_intervals_hold_their_estimates_and_the_best_has_no_delta(exact: Testbed) -> None:
    scorer = Scorer(exact, seed=3, samples_per_class=60)
    confirmed = confirm(scorer.measure([UNGUIDED, GOOD, SIGMOID]), seed=0)
    assert [one.numbers["kid"].value for one in confirmed] == sorted(one.numbers["kid"].value for one in confirmed)
    for one in confirmed:
        for estimate in (*(number.estimate for number in one.numbers.values()), one.delta_to_best.estimate):
            assert estimate.low <= estimate.value <= estimate.high
    assert confirmed[0].delta_to_best.estimate == Estimate(0.0, 0.0, 0.0)
    worst = next(one for one in confirmed if one.name == "unguided")
    assert worst.delta_to_best.estimate.low > 0


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says(exact: Testbed) -> None:
    def estimate(seed: int) -> Estimate:
        scorer = Scorer(exact, seed=seed, samples_per_class=40)
        return confirm(scorer.measure([UNGUIDED]), seed=seed)[0].numbers["kid"].estimate

    # The estimate is unbiased, so the mean over many small sets is the truth.
    sets = [Scorer(exact, seed=10_000 + seed, samples_per_class=100).measure([UNGUIDED])[0].kid for seed in range(70)]
    truth = sum(sets) / len(sets)
    estimates = [estimate(seed) for seed in range(60)]
    covered = sum(one.low <= truth <= one.high for one in estimates)
    assert covered >= 50  # 95 % of 60 is 57; fewer than 50 has a probability below 0.001
    spread = torch.tensor([one.value for one in estimates]).std()
    width = torch.tensor([one.high - one.low for one in estimates]).mean()
    assert 2.5 * spread < width < 6 * spread  # 3.9 standard deviations for a Gaussian


@pytest.mark.parametrize("num", [2, 3])
def test_intervals_at_two_samples_a_class_hold_their_estimates(num: int, exact: Testbed) -> None:
    for seed in range(6):
        scorer = Scorer(exact, seed=seed, samples_per_class=num)
        for one in confirm(scorer.measure([UNGUIDED, GOOD, SIGMOID]), seed=seed):
            for estimate in (one.numbers["kid"].estimate, one.numbers["accuracy"].estimate, one.delta_to_best.estimate):
                assert estimate.low <= estimate.value <= estimate.high


def test_a_method_with_failed_samples_is_behind_all_others_whatever_it_scores(exact: Testbed) -> None:
    scorer = Scorer(exact, seed=0, samples_per_class=8)
    good, lucky = scorer.measure([GOOD, dataclasses.replace(GOOD, name="lucky")])
    good = dataclasses.replace(good, own=dataclasses.replace(good.own, hits=torch.zeros_like(good.own.hits)))
    failed = torch.zeros_like(lucky.own.failed)
    failed[0] = True
    lucky = dataclasses.replace(lucky, own=dataclasses.replace(lucky.own, failed=failed))
    assert lucky.accuracy > good.accuracy
    assert not lucky.sound
    for name in ("kid", "accuracy"):
        first, second = confirm([lucky, good], seed=0, objectives=(name,))
        assert (first.name, second.name) == ("good", "lucky")
        assert first.delta_to_best.estimate.value == 0.0


def test_a_set_farther_away_than_the_floor_is_not_sound_though_no_sample_failed(exact: Testbed) -> None:
    (good,) = Scorer(exact, seed=0, samples_per_class=8).measure([GOOD])
    assert good.sound
    vars(good.scorer)["_floors"]["intra_kid"] = abs(good.kid) / 2
    assert not dataclasses.replace(good).sound


def test_resampling_draws_as_many_as_there_are(exact: Testbed) -> None:
    weights = resampling_weights(3, 7, resamples=50, seed=1)
    assert torch.equal(weights.sum(dim=2), torch.full((50, 3), 7.0, dtype=torch.float64))
    assert torch.equal(weights, resampling_weights(3, 7, resamples=50, seed=1))
    assert not torch.equal(weights, resampling_weights(3, 7, resamples=50, seed=2))


def test_all_candidates_share_their_starting_noise(exact: Testbed) -> None:
    weak = Method("weak", dataclasses.replace(GOOD.guidance, weight=Constant(1e-12)), SAMPLER)
    scorer = Scorer(exact, seed=0, samples_per_class=5)
    one, other = scorer.measure([UNGUIDED, weak])
    torch.testing.assert_close(one.own.shown, other.own.shown, rtol=1e-6, atol=1e-6)


def test_the_objective_decides_what_is_best(exact: Testbed) -> None:
    strong = Method("strong", Guidance(Likelihood("exact"), Constant(6.0)), SAMPLER)
    scorer = Scorer(exact, seed=1, samples_per_class=300)
    measured = scorer.measure([UNGUIDED, GOOD, strong])
    by_kid = confirm(measured, seed=0, objectives=("kid",))
    by_accuracy = confirm(measured, seed=0, objectives=("accuracy",))
    assert by_kid[0].name == "good"
    assert by_accuracy[0].name == "strong"
    assert [one.name for one in by_accuracy][-1] == "unguided"
    assert all(one.delta_to_best.estimate.value >= 0 for one in by_accuracy)


def test_a_failed_set_has_no_frechet_distance_and_does_not_stop_the_others(exact: Testbed) -> None:
    wild = Method("wild", Guidance(Likelihood("exact"), Constant(1e100)), SAMPLER)
    scorer = Scorer(exact, seed=0, samples_per_class=6)
    good, failed = confirm(scorer.measure([wild, GOOD]), seed=0)
    assert (good.name, failed.name) == ("good", "wild")
    assert failed.numbers["frechet_distance"].value == float("inf")
    assert good.numbers["frechet_distance"].value < 10


def test_saturated_images_are_at_the_floor(fashion: Testbed) -> None:
    scorer = Scorer(fashion, seed=0, samples_per_class=2)
    million = Method("million", Guidance(ClassEnergy("robust"), Constant(1e6)), DDIM(5, eta=1.0))
    usual = Method("usual", Guidance(ClassEnergy("robust"), Constant(8.0)), DDIM(5, eta=1.0))
    saturated, fine = scorer.measure([million, usual])
    assert saturated.own.num_failed > 0
    assert saturated.kid == scorer.floor
    assert fine.own.num_failed == 0
    assert fine.kid < scorer.floor / 5


def test_a_candidates_cost_does_not_depend_on_its_neighbours(exact: Testbed) -> None:
    zero = Method("zero", Guidance(Likelihood("exact"), Constant(0.0)), SAMPLER)
    scorer = Scorer(exact, seed=0, samples_per_class=3)
    counted, free = scorer.measure([GOOD, zero])
    assert (counted.own.evaluations_per_sample, free.own.evaluations_per_sample) == (36, 12)
    for one in (counted, free):
        alone = sample(
            exact,
            one.method.guidance,
            labels=torch.arange(6) % 2,
            seeds=row_seeds(0, 6),
            sampler=SAMPLER,
        )
        assert torch.equal(alone.evaluations, one.own.evaluations)


def test_a_study_is_an_objective_function_of_plain_optuna(exact: Testbed) -> None:
    study = dataclasses.replace(
        sigmoid_schedule.study("gaussians"), samples_per_class=8, objectives=("kid", "accuracy")
    )
    plain = optuna.create_study(directions=[one.direction for one in study.scored_by])
    plain.optimize(objective(study.with_steps(3), exact), n_trials=3, callbacks=[lambda opened, trial: None])
    for trial in plain.trials:
        guidance = Guidance.from_json(trial.user_attrs["guidegym:guidance"])
        (scored,) = Scorer(exact, seed=0, samples_per_class=8).measure([Method("again", guidance, DDIM(3, eta=1.0))])
        assert trial.values == [pytest.approx(scored.kid), pytest.approx(scored.accuracy)]
