"""Agents choose actions from what is seen, and search by forking costs no further network calls."""

import dataclasses
from typing import Any

import pytest
import torch
from guidegym.agents.beam_search import beam_search
from guidegym.agents.constant import ConstantAgent
from guidegym.agents.greedy import GreedyAgent, candidates
from guidegym.agents.group_reinforce import leave_one_out
from guidegym.agents.random import RandomAgent

from guidegym import DDIM, Constant, Guidance, Likelihood, Testbed, sample
from guidegym.envs import Task, make_task
from guidegym.envs.play import draw_episodes, follow, play
from guidegym.learning import load_learner
from guidegym.objectives import Finished

SEEN: dict[str, Any] = {"observation": "features", "num_steps": 8, "max_weight": 4.0}


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(**SEEN, split="test")


def test_a_constant_agent_is_plain_sampling(task: Task) -> None:
    labels, seeds = draw_episodes(task, 20, seed=0)
    played = play(task, ConstantAgent(1.5), labels, seeds)
    guidance = Guidance(Likelihood("exact"), Constant(1.5))
    samples = sample(task.engine.model, guidance, labels=labels, seeds=seeds, sampler=DDIM(8))
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
    assert torch.equal(replayed.state.evaluations, found.state.evaluations)


def test_greedy_asks_the_denoiser_once_a_step(task: Task) -> None:
    calls: list[int] = []
    testbed = task.engine.model
    assert isinstance(testbed, Testbed)

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return testbed.denoiser(x, t)

    engine = dataclasses.replace(task.engine, model=dataclasses.replace(testbed, denoiser=denoiser))
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


def test_rows_of_a_group_are_no_company_of_each_other() -> None:
    # Forty copies of one point would each have near-copies for company, were they not alternatives to each other.
    task = make_task(**{**SEEN, "reward": "kid_witness"})
    labels, seeds = draw_episodes(task, 6, seed=0)
    x = play(task, ConstantAgent(1.0), labels, seeds).state.x
    testbed = task.engine.model
    alone = task.reward.value(Finished(x, labels, testbed))
    group = torch.arange(6).repeat_interleave(3)
    thrice = task.reward.value(Finished(x[group], labels[group], testbed, group=group))
    torch.testing.assert_close(thrice, alone.repeat_interleave(3), rtol=1e-4, atol=1e-5)


def test_the_group_relative_agent_learns() -> None:
    learner = load_learner(
        "group_reinforce",
        SEEN,
        timesteps=25 * 32 * 8 * 8,
        seed=0,
        settings={"groups": 32, "rows": 8, "start": -0.9},
    )
    labels, seeds = draw_episodes(learner.task, 200, seed=5)
    fresh = play(learner.task, follow(learner.policy()), labels, seeds).total.mean()
    rewards = [learner.improve() for _ in range(25)]
    assert sum(rewards[-5:]) > sum(rewards[:5])
    learned = play(learner.task, follow(learner.policy()), labels, seeds).total.mean()
    assert float(learned) > float(fresh) + 0.02
