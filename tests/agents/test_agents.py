"""Agents choose actions from what is seen, and search by forking costs no further network calls."""

import dataclasses
from typing import Any

import pytest
import torch
from guidegym.agents.constant import ConstantAgent
from guidegym.agents.greedy import GreedyAgent, beam_search, candidates
from guidegym.agents.group_reinforce import Settings, leave_one_out, train
from guidegym.agents.random import RandomAgent

from guidegym import DDIM, Constant, Guidance, GuideGymError, Likelihood, sample
from guidegym.envs import Task, make_task
from guidegym.envs.play import draw_episodes, play

SEEN: dict[str, Any] = {"observation": "features", "num_steps": 8, "max_weight": 4.0}


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(**SEEN, split="test")


def test_a_constant_agent_is_plain_sampling(task: Task) -> None:
    labels, seeds = draw_episodes(task, 20, seed=0)
    played = play(task, ConstantAgent(1.5), labels, seeds)
    guidance = Guidance(Likelihood("exact"), Constant(1.5))
    samples = sample(task.engine.testbed, guidance, labels=labels, seeds=seeds, sampler=DDIM(8))
    torch.testing.assert_close(played.state.x, samples.x, rtol=1e-4, atol=1e-5)
    assert played.state.weight.tolist() == pytest.approx([1.5] * 20)


def test_a_random_agent_draws_from_the_whole_space_and_repeats_itself(task: Task) -> None:
    labels, seeds = draw_episodes(task, 50, seed=0)
    first, again = (play(task, RandomAgent(3), labels, seeds).actions for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.min()) < -0.95
    assert float(first.max()) > 0.95


def test_greedy_and_beam_search_find_surer_samples_than_any_constant() -> None:
    # With a guide that errs, a search that may look at the judge knows better than the guide.
    task = make_task(**SEEN, testbed="gaussians-imperfect")
    labels, seeds = draw_episodes(task, 60, seed=1)
    best_constant = max(float(play(task, ConstantAgent(w), labels, seeds).total.mean()) for w in (0.0, 0.5, 1, 2, 4))
    greedy = play(task, GreedyAgent(5), labels, seeds).total
    beam = beam_search(task, labels, seeds, width=4, count=5).total
    assert float(greedy.mean()) > best_constant
    assert float(beam.mean()) >= float(greedy.mean())


def test_the_actions_of_a_beam_replay_to_its_samples(task: Task) -> None:
    labels, seeds = draw_episodes(task, 7, seed=2)
    found = beam_search(task, labels, seeds, width=3, count=4)
    steps = iter(found.actions)
    replayed = play(task, lambda task, live: next(steps), labels, seeds)
    torch.testing.assert_close(replayed.state.x, found.state.x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(replayed.total, found.total, rtol=1e-4, atol=1e-4)


def test_greedy_asks_the_denoiser_once_a_step(task: Task) -> None:
    calls: list[int] = []
    testbed = task.engine.testbed

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return testbed.denoiser(x, t)

    engine = dataclasses.replace(task.engine, testbed=dataclasses.replace(testbed, denoiser=denoiser))
    counting = dataclasses.replace(task, engine=engine)
    play(counting, GreedyAgent(7), *draw_episodes(task, 5, seed=0))
    assert calls == [5] * 8


def test_candidates_go_from_no_guidance_to_the_largest(task: Task) -> None:
    weight, _ = task.scale.physical(candidates(task, 5))
    assert weight.tolist() == pytest.approx([0.0, 0.25, 1.0, 2.25, 4.0])


def test_the_baseline_of_a_row_is_the_mean_of_the_others() -> None:
    total = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    wanted = [[1 - 4, 2 - 3.5, 6 - 1.5], [-1.5, -1.5, 3.0]]
    torch.testing.assert_close(leave_one_out(total), torch.tensor(wanted))


def test_the_group_relative_agent_learns_and_repeats_itself(task: Task) -> None:
    learn = make_task(**SEEN)
    settings = Settings(iterations=25, groups=32, rows=8, start=-0.9)
    rewards: list[float] = []
    policy = train(learn, settings, on_update=lambda update, reward, policy: rewards.append(reward))
    assert sum(rewards[-5:]) > sum(rewards[:5])
    labels, seeds = draw_episodes(task, 200, seed=5)
    learned = play(task, lambda task, live: policy(task.features(live)), labels, seeds).total.mean()
    fresh = play(task, ConstantAgent(0.2), labels, seeds).total.mean()  # what it started from
    assert float(learned) > float(fresh) + 0.02
    assert train(learn, dataclasses.replace(settings, iterations=3)) == train(
        learn, dataclasses.replace(settings, iterations=3)
    )


def test_the_group_relative_agent_needs_features() -> None:
    with pytest.raises(GuideGymError, match="the task must show `features`, got observation 'sample'"):
        train(make_task(observation="sample"))
    with pytest.raises(GuideGymError, match="`rows` must be >= 2, got 1"):
        Settings(rows=1)


def test_ppo_learns_and_its_export_acts_as_the_model_does() -> None:
    import numpy as np
    from guidegym.agents.ppo import export
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from guidegym.envs import GuidanceVectorEnv
    from guidegym.envs.sb3 import SB3VecEnv

    native = GuidanceVectorEnv(16, **SEEN)
    env = VecNormalize(SB3VecEnv(native), gamma=1.0, clip_obs=1e3)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, gamma=1.0, device="cpu", seed=0)
    model.learn(512)
    env.training = False  # its moments stay as they are
    policy = export(model, env, native.episodes.task)
    seen = env.reset()
    wanted, _ = model.predict(seen, deterministic=True)
    got = policy(torch.from_numpy(env.get_original_obs()))
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-5)
