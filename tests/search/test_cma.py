"""CMA-ES from the finished trials alone: the optimizer that was told generation by generation, and no pickle anywhere."""

import math
import os
import pickle
from pathlib import Path

import numpy as np
import optuna
from cmaes import CMA
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from short_search import quick_search

from guidegym.search.cma import SPREAD, evolved, from_unit, to_unit
from guidegym.search.storage import BATCH

SPACE: dict[str, FloatDistribution | IntDistribution] = {
    "a": FloatDistribution(-3.0, 5.0),
    "b": FloatDistribution(0.1, 10.0, log=True),
}


def _trial(place: np.ndarray, value: float, batch: int) -> FrozenTrial:
    params = {name: from_unit(float(one), SPACE[name]) for name, one in zip(SPACE, place, strict=True)}
    attributes = {BATCH: batch}
    return create_trial(params=params, distributions=dict(SPACE), value=value, user_attrs=attributes)


def _bowl(place: np.ndarray) -> float:
    return float(((place - np.array([0.8, 0.3])) ** 2).sum())


def test_the_optimizer_of_finished_trials_is_the_one_that_was_told_generation_by_generation() -> None:
    told = CMA(mean=np.full(2, 0.5), sigma=SPREAD, bounds=np.array([[0.0, 1.0], [0.0, 1.0]]), seed=1)
    trials: list[FrozenTrial] = []
    for _ in range(12):
        places = [told.ask() for _ in range(told.population_size)]
        told.tell([(place, _bowl(place)) for place in places])
        trials += [_trial(place, _bowl(place), batch=len(trials)) for place in places]
    found = evolved(trials, SPACE, sign=1.0, seed=1)
    np.testing.assert_allclose(found.mean, told.mean, atol=1e-9)
    np.testing.assert_allclose(found._C, told._C, atol=1e-9)
    assert found.generation == told.generation == 12
    assert _bowl(told.mean) < 1e-3  # it has found the bottom of the bowl
    lowest, highest = (evolved(trials[:6], SPACE, sign=sign, seed=1) for sign in (1.0, -1.0))
    assert _bowl(lowest.mean) < _bowl(highest.mean)


def test_a_trial_that_was_asked_for_before_its_generation_ended_is_of_no_later_one() -> None:
    places = np.random.default_rng(0).random((12, 2))
    early = [_trial(place, _bowl(place), batch=0) for place in places[:6]]
    # Of a batch that began at the fourth trial, two come after the sixth, at which the first generation of six is told.
    stale = [_trial(place, _bowl(place), batch=4) for place in places[6:8]]
    fresh = [_trial(place, _bowl(place), batch=8) for place in places[8:12]]
    assert evolved(early, SPACE, sign=1.0, seed=0).population_size == 6
    both, without = (evolved([*early, *middle, *fresh], SPACE, sign=1.0, seed=0) for middle in (stale, []))
    assert both.generation == without.generation == 1
    np.testing.assert_array_equal(both.mean, without.mean)


@given(st.floats(0, 1), st.sampled_from([*SPACE.values(), FloatDistribution(0, 1, step=0.25), IntDistribution(1, 9)]))
def test_a_place_becomes_a_parameter_of_its_range_and_back(
    place: float, distribution: FloatDistribution | IntDistribution
) -> None:
    value = from_unit(place, distribution)
    assert distribution._contains(value)
    step = (
        0.0 if not distribution.step else distribution.step / (distribution.high - distribution.low + distribution.step)
    )
    assert math.isclose(to_unit(value, distribution), place, abs_tol=step / 2 + 1e-9)


def test_whole_numbers_have_equal_shares_of_their_range() -> None:
    found = [from_unit((i + 0.5) / 900, IntDistribution(1, 9)) for i in range(900)]
    assert [found.count(number) for number in range(1, 10)] == [100] * 9


class _Planted:
    """What a pickle in a storage can be: code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(_Planted.folder),)

    folder: Path


def test_what_others_write_to_the_storage_is_never_unpickled(tmp_path: Path) -> None:
    storage, _Planted.folder = f"sqlite:///{tmp_path / 'study.db'}", tmp_path / "owned"
    quick_search(storage, num_trials=4, optimizer="cmaes")
    study = optuna.load_study(study_name="quick", storage=storage)
    for trial in study.trials:
        assert not any("cma" in name for name in trial.system_attrs)
    # Where Optuna's own sampler keeps its optimizer, and looks for it.
    planted = pickle.dumps(_Planted()).hex()
    running = study.ask()
    study._storage.set_trial_system_attr(running._trial_id, "cma:optimizer:0", planted)
    running.set_user_attr("guidegym:guidance", study.trials[0].user_attrs["guidegym:guidance"])
    study.tell(running, 1.0)
    quick_search(storage, num_trials=8, optimizer="cmaes")
    assert not _Planted.folder.exists()
