"""The environments keep Gymnasium's rules, and are the sampler."""

import copy
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from guidegym import DDIM, Constant, Guidance, GuideGymError, Likelihood, Testbed, load_testbed, sample
from guidegym.envs import GuidanceEnv, GuidanceVectorEnv, check_vector_env
from guidegym.envs.splits import _whole
from guidegym.envs.task import OBSERVATIONS

IDS = ("guidegym/GuidanceWeight-v0", "guidegym/ProgressiveGuidance-v0")
MODES = ("SameStep", "NextStep", "Disabled")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_checkers_of_gymnasium_and_stable_baselines_pass(
    name: str, observation: str, render_mode: str | None, steps: int
) -> None:
    env = gym.make(name, observation=observation, num_steps=steps, render_mode=render_mode)
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_the_native_vector_environment_equals_single_ones_row_by_row(name: str, observation: str, mode: str) -> None:
    arguments: dict[str, Any] = {"observation": observation, "num_steps": 3, "reward_form": "difference"}
    native = gym.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point", autoreset_mode=mode, **arguments)
    check_vector_env(native, steps=8)
    singles = SyncVectorEnv([lambda: gym.make(name, **arguments)] * 3, autoreset_mode=mode)
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    assert native.metadata["autoreset_mode"] == singles.metadata["autoreset_mode"]
    first, _ = native.reset(seed=5)
    second, _ = singles.reset(seed=5)
    _assert_same(first, second)
    singles.action_space.seed(1)
    for _ in range(3 * 4):
        actions = singles.action_space.sample()
        one, other = native.step(actions), singles.step(actions)
        for mine, theirs in zip(one[:4], other[:4], strict=True):
            _assert_same(mine, theirs)
        over = one[2]
        if over.any() and mode == "SameStep":
            assert other[4]["_final_obs"].tolist() == one[4]["_final_obs"].tolist() == over.tolist()
            for row in np.flatnonzero(over):
                final = one[4]["final_obs"]
                mine = {key: value[row] for key, value in final.items()} if isinstance(final, dict) else final[row]
                _assert_same(mine, other[4]["final_obs"][row])
        if over.any() and mode == "Disabled":
            _assert_same(*(env.reset(options={"reset_mask": over.copy()})[0] for env in (native, singles)))


def _assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_same(one[key], other[key])
    else:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def _action(weight: float, most: float = 8.0) -> float:
    return 2 * weight / most - 1


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_a_constant_action_episode_is_plain_sampling(observation: str) -> None:
    env = GuidanceVectorEnv(
        4,
        num_steps=7,
        sampler={"kind": "ddim", "eta": 0.6},
        observation=observation,
        split={"labels": [0, 1, 1, 0], "seeds": [11, 12, 13, 14]},
        autoreset_mode="Disabled",
    )
    env.reset(seed=0)
    ended = np.zeros(4, dtype=bool)
    while not ended.all():
        _, reward, ended, _, info = env.step(np.full((4, 1), _action(1.5), dtype=np.float32))
    assert info["weight"] == pytest.approx(np.full(4, 1.5))
    testbed = load_testbed("gaussians")
    samples = sample(
        testbed,
        Guidance(Likelihood("exact"), Constant(1.5)),
        labels=[0, 1, 1, 0],
        seeds=[11, 12, 13, 14],
        sampler=DDIM(7, eta=0.6),
    )
    torch.testing.assert_close(env.episodes.running().state.x, samples.x, rtol=1e-4, atol=1e-5)
    logits = testbed.judge.classify(testbed.judge.features(samples.x)).log_softmax(dim=1)
    np.testing.assert_allclose(reward, logits.gather(1, samples.labels[:, None])[:, 0].numpy(), rtol=1e-3, atol=1e-4)


def test_replaying_an_action_log_gives_the_same_rewards() -> None:
    env = GuidanceVectorEnv(3, num_steps=5, observation="features", reward_form="difference")
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 3, 1)).astype(np.float32)
    runs = []
    for _ in range(2):
        env.reset(seed=3)
        runs.append([env.step(action)[1] for action in actions])
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.parametrize("num", [1, 5])
@pytest.mark.parametrize("mode", MODES)
def test_one_denoiser_call_a_step_whatever_the_number_of_rows(num: int, mode: str, exact: Testbed) -> None:
    import dataclasses

    calls: list[int] = []

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return exact.denoiser(x, t)

    counting = dataclasses.replace(exact, denoiser=denoiser)
    env = GuidanceVectorEnv(num, testbed=counting, num_steps=4, observation="features", autoreset_mode=mode)
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    assert calls == [num] * 4


@pytest.mark.parametrize("make", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])  # noqa: S301
def test_a_copy_goes_on_identically(make: Any) -> None:
    env = GuidanceEnv(num_steps=4, sampler={"kind": "ddim", "eta": 1.0})
    env.reset(seed=2)
    action = np.array([0.2], dtype=np.float32)
    env.step(action)
    other = make(env)
    for _ in range(3):
        (seen, *rest), (seen_too, *rest_too) = env.step(action), other.step(action)
        _assert_same(seen, seen_too)
        assert rest == rest_too
    _assert_same(env.reset()[0], other.reset()[0])


def test_some_rows_are_reset_while_others_go_on_amid_their_chain() -> None:
    arguments: dict[str, Any] = {"num_steps": 4, "observation": "sample"}
    env = GuidanceVectorEnv(3, autoreset_mode="Disabled", **arguments)
    alone = GuidanceEnv(**arguments)
    alone.reset(seed=7)
    env.reset(seed=7)
    action = np.full((3, 1), 0.1, dtype=np.float32)
    env.step(action)
    alone.step(action[0])
    env.reset(options={"reset_mask": np.array([False, True, False])})
    for _ in range(3):
        seen, _, ended, _, _ = env.step(action)
        wanted = alone.step(action[0])[0]
        np.testing.assert_allclose(seen[0], wanted, rtol=1e-4, atol=1e-5)
    assert ended.tolist() == [True, False, True]
    with pytest.raises(GuideGymError, match="rows that have ended must be reset before `step`"):
        env.step(action)


def test_train_and_test_share_no_seed_and_options_choose_the_episode() -> None:
    seeds = {}
    for split in ("train", "test"):
        env = GuidanceVectorEnv(64, num_steps=1, split=split, observation="sample")
        seeds[split] = set(env.reset(seed=0)[1]["noise_seed"].tolist())
        assert len(seeds[split]) == 64
    assert not seeds["train"] & seeds["test"]
    assert max(seeds["train"]) < min(seeds["test"])
    single = GuidanceEnv(num_steps=1)
    _, info = single.reset(seed=0, options={"label": 1, "noise_seed": 42})
    assert (info["label"], info["noise_seed"]) == (1, 42)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"testbed": "moons"},
            "unknown testbed 'moons'; known: digits, digits-trained-ve, digits-ve, digits-words, fashion",
        ),
        ({"reward": "beauty"}, "unknown objective 'beauty'; known: accuracy, confidence"),
        ({"observation": "pixels"}, "`observation` must be one of full, features, sample, got 'pixels'"),
        ({"split": "valid"}, "`split` must be one of train, test, or lists"),
        ({"split": {"labels": [0], "seeds": [1, 2]}}, "`split` must have non-empty `labels` and `seeds`"),
        ({"split": {"labels": [7], "seeds": [1]}}, r"`split` must have labels in 0..1"),
        (
            {"sampler": "magic"},
            "unknown sampler 'magic'; known: annealed_langevin, ddim",
        ),
        (
            {"sampler": {"kind": "ddim", "order": 2}},
            "sampler 'ddim' takes eta, spacing, clipping, strided; got 'order'",
        ),
        ({"num_steps": 0}, "`num_steps` must be"),
        ({"guide": "robust"}, "model 'gaussians' has no classifier 'robust'; it has exact"),
        ({"max_weight": 0.0}, "`max_weight` must be > 0"),
        ({"render_mode": "human"}, "`render_mode` must be None or 'rgb_array', got 'human'"),
    ],
)
def test_a_wrong_argument_gets_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    for make in (GuidanceEnv, GuidanceVectorEnv):
        with pytest.raises(GuideGymError, match=message):
            make(**arguments)


def test_misuse_gets_one_clear_line() -> None:
    env, action = GuidanceEnv(num_steps=2, observation="features"), np.zeros(1, dtype=np.float32)
    with pytest.raises(GuideGymError, match="`reset` must be called before `step`"):
        env.step(action)
    env.reset(seed=0)
    with pytest.raises(GuideGymError, match="`action` must be in Box"):
        env.step(np.array([1.5], dtype=np.float32))
    with pytest.raises(GuideGymError, match="`options` may contain `label` and `noise_seed`, got labels"):
        env.reset(options={"labels": 1})
    env.close()
    with pytest.raises(GuideGymError, match="the environment is closed"):
        env.reset()
    vector = GuidanceVectorEnv(2, num_steps=2, observation="features", autoreset_mode="Disabled")
    with pytest.raises(GuideGymError, match="`reset` must be called before `step`"):
        vector.step(np.zeros((2, 1), dtype=np.float32))
    with pytest.raises(GuideGymError, match="the first `reset` must reset every row"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    vector.reset(seed=0)
    with pytest.raises(GuideGymError, match=r"`actions` must have shape \(2, 1\) with values in \[-1, 1\]"):
        vector.step(np.full((2, 1), np.nan, dtype=np.float32))
    with pytest.raises(GuideGymError, match="`reset_mask` must be a boolean array of length 2"):
        vector.reset(options={"reset_mask": [True, False]})
    with pytest.raises(GuideGymError, match="`autoreset_mode` must be one of"):
        GuidanceVectorEnv(2, autoreset_mode="Never")
    vector.close()
    with pytest.raises(GuideGymError, match="the environment is closed"):
        vector.step(np.zeros((2, 1), dtype=np.float32))


@pytest.mark.parametrize("name", IDS)
def test_the_specification_is_json_and_makes_the_same_environment(name: str) -> None:
    env = gym.make(name, num_steps=3, reward={"confidence": 1.0}, split={"labels": [0], "seeds": [1]})
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    _assert_same(env.reset(seed=1)[0], again.reset(seed=1)[0])
    assert json.loads(env.spec.to_json())["kwargs"]["num_steps"] == 3


def test_the_checker_finds_a_broken_environment() -> None:
    class Forgetful(GuidanceVectorEnv):
        def step(self, actions: Any) -> Any:
            observation, rewards, *rest = super().step(actions)
            return observation, rewards + np.random.default_rng().normal(size=len(rewards)), *rest

    with pytest.raises(GuideGymError, match="the same seed gave another"):
        check_vector_env(Forgetful(2, num_steps=3, observation="features"), steps=5)


def test_a_frame_is_a_picture_that_changes(fashion: Testbed) -> None:
    env = GuidanceVectorEnv(5, testbed=fashion, num_steps=2, observation="sample", render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.zeros((5, 1), dtype=np.float32))
    frames = env.render()
    assert frames is not None
    assert frames[0].shape == (300, 900, 3)
    assert frames[0].dtype == np.uint8
    env.step(np.ones((5, 1), dtype=np.float32))
    again = env.render()
    assert again is not None
    assert not np.array_equal(frames[0], again[0])


def test_the_picture_of_a_finished_episode_stays_until_the_next_one_has_taken_a_step(exact: Testbed) -> None:
    env = GuidanceVectorEnv(3, testbed=exact, num_steps=2, render_mode="rgb_array")
    env.reset(seed=1)
    rows = env.trace.rows
    for steps, wanted in ((2, 2), (1, 1), (1, 2), (1, 1)):
        for _ in range(steps):
            _, _, ended, _, _ = env.step(env.action_space.sample())
        rows = env.trace.rows
        assert [len(row.weights) for row in rows] == [wanted] * 3
        assert env.render() is not None
    assert not ended.any()
    env.step(env.action_space.sample())
    finished = env.trace.rows[0].estimate
    assert finished is not None and bool(finished.abs().sum() > 0)  # the sample, not the blank of the fresh row
    env.reset(options={"reset_mask": np.array([True, False, False])})
    assert [len(row.weights) for row in env.trace.rows] == [0, 2, 2]


def test_the_progressive_environment_reports_its_rate_and_target() -> None:
    env = gym.make_vec("guidegym/ProgressiveGuidance-v0", num_envs=2, num_steps=3, render_mode="rgb_array")
    _, info = env.reset(seed=0)
    assert info["rate"].tolist() == [0, 0]
    assert info["target"].tolist() == [0.5, 0.5]
    _, _, _, _, info = env.step(np.array([[0.0, 1.0], [0.0, -1.0]], dtype=np.float32))
    assert info["rate"].tolist() == [25, 0]
    assert info["target"][0] > 0.99
    assert info["target"][1] == 0.5
    frames: Any = env.render()
    assert frames[0].shape == (300, 1200, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nope": 1}, "the environment takes testbed, .*; got 'nope'"),
        ({"reward": 5}, "`reward` must be a text or an object or Objective or Callable, got 5"),
        ({"split": None}, "`split` must be a text or an object, got None"),
        ({"testbed": 5}, "`testbed` must be a text or Model, got 5"),
        ({"device": "nope"}, "`device` must be one that torch can use on this machine, got 'nope'"),
        ({"num_steps": 2.5}, "`num_steps` must be a whole number, got 2.5"),
        ({"num_steps": "20"}, "`num_steps` must be a whole number, got '20'"),
        ({"max_weight": True}, "`max_weight` must be a finite number, got True"),
        ({"target": {"kind": "label_smoothing", "share": -1.0}}, r"`share` must be in \[0, 1\], got -1.0"),
    ],
)
def test_a_wrong_type_gets_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    for make in (GuidanceEnv, GuidanceVectorEnv):
        with pytest.raises(GuideGymError, match=message):
            make(**arguments)


def test_options_are_whole_numbers() -> None:
    env = GuidanceEnv(num_steps=2, observation="features")
    for options, message in (
        ({"label": "a"}, "`label` must be a whole number in 0..1, got 'a'"),
        ({"noise_seed": 1.5}, "`noise_seed` must be a whole number >= 0, got 1.5"),
    ):
        with pytest.raises(GuideGymError, match=message):
            env.reset(options=options)
    _, info = env.reset(options={"label": np.int64(1), "noise_seed": 7})
    assert (info["label"], info["noise_seed"]) == (1, 7)


def test_a_list_of_numpy_numbers_is_a_split() -> None:
    assert _whole({"labels": np.array([1, 0])}, "labels") == (1, 0)
    assert _whole({"seeds": [np.int64(5), np.int64(6)]}, "seeds") == (5, 6)
    for wrong in ([1.5], [True], "12", 3):
        with pytest.raises(GuideGymError, match=r"seeds` must be a (list of )?whole number"):
            _whole({"seeds": wrong}, "seeds")


def _seeds_of(env: GuidanceVectorEnv, seed: Any) -> list[int]:
    _, info = env.reset(seed=seed)
    return [int(one) for one in info["noise_seed"]]


def test_a_row_without_a_seed_goes_on_and_one_that_never_had_one_gets_one_by_chance() -> None:
    def fresh() -> GuidanceVectorEnv:
        return GuidanceVectorEnv(num_envs=3, num_steps=2, observation="features")

    env = fresh()
    first, again = _seeds_of(env, [1, None, 3]), _seeds_of(env, [1, None, 3])
    assert (first[0], first[2]) == (again[0], again[2])
    assert first[1] != again[1]  # the next episode of the same row
    assert first[1] != _seeds_of(fresh(), [1, 0, 3])[1]  # it is not seed 0's
    assert first[1] != _seeds_of(fresh(), [1, None, 3])[1]  # and drawn anew in another environment
    assert _seeds_of(fresh(), [5, 6, 7]) == _seeds_of(fresh(), 5)
    seeded = fresh()
    seeded.reset(seed=5)
    _, info = seeded.reset(seed=[5, None, 7])
    rows = GuidanceEnv(num_steps=2, observation="features")
    rows.reset(seed=6)
    assert int(info["noise_seed"][1]) == rows.reset()[1]["noise_seed"]  # as the single environment goes on


@pytest.mark.parametrize("wrong", [-1, 1.9, 1.5, True, "7", 2**64, 2**63, 10**400])
def test_seeds_that_are_none_are_refused_in_one_line(wrong: Any, unchecked: None) -> None:
    env, single = (
        GuidanceVectorEnv(num_envs=2, num_steps=2, observation="features"),
        GuidanceEnv(num_steps=2, observation="features"),
    )
    for one, seed in ((env, wrong), (env, [wrong, 1]), (single, wrong)):
        with pytest.raises(GuideGymError, match=r"`seed(\[0\])?` must be a whole number") as caught:
            one.reset(seed=seed)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(GuideGymError, match=rf"`seed` must be a whole number in 0..{2**63 - 2}, got {2**63 - 1}"):
        env.reset(seed=2**63 - 1)  # the second row's would be one too large
    assert int(single.reset(seed=2**63 - 1)[1]["noise_seed"]) >= 0
