"""Do agents beat the best open-loop schedule where the best weight depends on the sample?

    python benchmarks/learning.py [--agents ppo group_reinforce] [--seeds 0 1 2] [--timesteps 2500000]

On ``gaussians-imperfect``: the best constant weight, the best sigmoid (TPE) and the best curve through six knots (CMA-ES) are
searched on training episodes with the agents' own reward; then each agent learns with each seed, and all are compared on
held-out episodes. The result goes to ``benchmarks/results/DATE-learning.json``.
"""

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from speed import machine
from tqdm import tqdm

from guidegym import Constant, Guidance, Sigmoid, Table
from guidegym.agent_comparison import COLUMNS, best_constant, compare
from guidegym.core.sampling import rollout
from guidegym.envs import Task, make_task
from guidegym.envs.play import Act, draw_episodes
from guidegym.evaluation.measuring.measurement import delta
from guidegym.evaluation.measuring.ranking import headings, ranked_json, ranked_rows
from guidegym.learning import load_learner
from guidegym.learning.learn import as_guidance
from guidegym.objectives import Finished
from guidegym.report.tables import format_table

ROOT = Path(__file__).parent.parent
ENVIRONMENT: dict[str, Any] = {
    "testbed": "gaussians-imperfect",
    "num_steps": 20,
    "sampler": {"kind": "ddim", "eta": 1.0},
    "max_weight": 4.0,
    "reward": "kid_witness",
    "observation": "features",
}
KNOTS = 6
SEARCH_EPISODES = 4096


def curve(task: Task, heights: list[float]) -> Table:
    """Return the weight curve through heights at evenly spaced shares of the chain."""
    steps = task.engine.sampler.num_steps
    weights = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(heights)), heights)
    return Table(tuple(float(t) for t in task.engine.timesteps[:-1]), tuple(weights.tolist()))


def earned(task: Task, guidance: Guidance) -> float:
    """Return the mean reward of a schedule on training episodes, the same for all."""
    labels, seeds = draw_episodes(task, SEARCH_EPISODES, seed=7)
    weights = guidance.weights(task.engine.sampler, task.engine.model.process).expand(len(labels), -1)
    samples = rollout(task.engine, labels, seeds, weights, batch_size=SEARCH_EPISODES)
    return float(task.reward.value(Finished(samples.x, labels, task.engine.model, task.engine.guide)).mean())


def tuned(task: Task, *, trials: int) -> dict[str, Guidance]:
    """Search the open-loop families, each for so many trials."""
    guide, top = task.engine.guide, task.scale.max_weight

    def sigmoid(trial: optuna.Trial) -> Guidance:
        scale, y0 = trial.suggest_float("scale", 0, 2 * top), trial.suggest_float("y0", 0, 0.5)
        t0, k = trial.suggest_float("t0", 0, 1000), trial.suggest_float("k", -0.02, 0.02)
        return Guidance(guide, Sigmoid(scale=scale, y0=y0, t0=t0, k=k))

    def knots(trial: optuna.Trial) -> Guidance:
        return Guidance(guide, curve(task, [trial.suggest_float(f"w{i}", 0, top) for i in range(KNOTS)]))

    found: dict[str, Guidance] = {}
    for name, space, sampler, first in (
        (
            "tuned sigmoid",
            sigmoid,
            optuna.samplers.TPESampler(seed=0),
            {"scale": 2.0, "y0": 0.0, "t0": 500.0, "k": 0.0},
        ),
        ("tuned knots", knots, optuna.samplers.CmaEsSampler(seed=0, sigma0=0.3), {f"w{i}": 1.0 for i in range(KNOTS)}),
    ):
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(first)
        for _ in tqdm(range(trials), desc=name):
            trial = study.ask()
            study.tell(trial, earned(task, space(trial)))
        found[name] = space(optuna.trial.FixedTrial(study.best_params))  # type: ignore[arg-type]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", nargs="+", default=["ppo", "group_reinforce"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--timesteps", type=int, default=2_500_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=8192)
    parser.add_argument("--episodes-seed", type=int, default=1, help="which held-out episodes")
    parser.add_argument("--schedules", type=Path, help="an earlier record, whose tuned schedules are taken")
    parser.add_argument("--name", default="learning", help="end of the record's name")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    train, test = (make_task(**ENVIRONMENT, split=split) for split in ("train", "test"))
    began = time.monotonic()
    constant, _ = best_constant(train, num=SEARCH_EPISODES, seed=7)
    methods: dict[str, Act | Guidance] = {"unguided": Guidance(), constant.name: constant}
    methods["constant 1"] = Guidance(train.engine.guide, Constant(1.0))
    if arguments.schedules is None:
        methods |= tuned(train, trials=arguments.trials)
    else:
        t = tuple(float(t) for t in train.engine.timesteps[:-1])
        for name, weights in json.loads(arguments.schedules.read_text())["schedules"].items():
            if name.startswith("tuned"):
                methods[name] = Guidance(train.engine.guide, Table(t, tuple(weights)))
    seconds = {"open-loop searches": round(time.monotonic() - began, 1)}
    for agent in arguments.agents:
        for seed in arguments.seeds:
            name = f"{agent}, seed {seed}"
            learner = load_learner(agent, ENVIRONMENT, timesteps=arguments.timesteps, seed=seed)
            began = time.monotonic()
            with tqdm(total=arguments.timesteps, desc=name, unit="step", unit_scale=True) as bar:
                while learner.timesteps < arguments.timesteps:
                    reward = learner.improve()
                    bar.update(learner.timesteps - bar.n)
                    bar.set_postfix(reward=f"{reward:.4g}", refresh=False)
            seconds[name] = round(time.monotonic() - began, 1)
            methods[name] = as_guidance(test, learner.policy())
    compared = compare(test, methods, num=arguments.episodes, seed=arguments.episodes_seed)
    print(format_table(headings(COLUMNS), ranked_rows(compared, COLUMNS)))
    best = next(one for one in compared if one.name in ("tuned sigmoid", "tuned knots"))
    content = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(torch.device("cpu")),
        "environment": ENVIRONMENT,
        "timesteps": arguments.timesteps,
        "held_out_episodes": arguments.episodes,
        "held_out_seed": arguments.episodes_seed,
        "seconds": seconds,
        "schedules": {
            name: method.weights(test.engine.sampler, test.engine.model.process).tolist()
            for name, method in methods.items()
            if isinstance(method, Guidance) and method.policy is None
        },
        "methods": [
            {**found, "ahead_of_best_open_loop": delta(one.numbers["reward"], best.numbers["reward"]).to_json()}
            for found, one in zip(ranked_json(compared, COLUMNS), compared, strict=True)
        ],
    }
    path = ROOT / "benchmarks" / "results" / f"{content['date']}-{arguments.name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
