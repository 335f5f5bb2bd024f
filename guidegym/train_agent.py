"""``python -m guidegym.train_agent``: train an agent in an environment, and compare it with what needs no learning."""

import argparse
import inspect
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guidegym.command import Parser, add_device, check_device, folder, parse_pairs, parse_value, run_command
from guidegym.diffusion import make_sampler, sampler_flags
from guidegym.engine import Engine
from guidegym.errors import GuideGymError
from guidegym.files import write_atomically
from guidegym.guidance import Guidance
from guidegym.registry import find, names
from guidegym.settings import check_settings, whole_number, with_defaults
from guidegym.tables import format_table

ENVIRONMENTS = ("guidegym/GuidanceWeight-v0", "guidegym/ProgressiveGuidance-v0")


MOST_EPISODES = 1_000_000
"""Episodes beyond which a number is a slip of the finger: all are held in memory."""
FLAGS = {
    "device": "--device",
    "num_steps": "--steps",
    "timesteps": "--timesteps",
    "seed": "--seed",
    "reward": "--reward",
    "eval_every": "--eval-every",
    "eval_episodes": "--eval-episodes",
}
"""What errors call the arguments, and the flags that set them."""


def _parser() -> Parser:
    parser = Parser(prog="python -m guidegym.train_agent", description=__doc__)
    parser.add_argument("--agent", help="a shipped agent, a dotted module, or a path to a Python file")
    parser.add_argument("--list", action="store_true", help="print the shipped agents that learn and stop")
    parser.add_argument("--env", default=ENVIRONMENTS[0], help=f"{' or '.join(ENVIRONMENTS)} (default: the first)")
    parser.add_argument(
        "--testbed",
        default="gaussians",
        help=f"{', '.join(names('testbed'))}, or a path to a Python file (default: gaussians)",
    )
    parser.add_argument("--steps", type=int, help="reverse steps, which are the steps of an episode (default: 20)")
    parser.add_argument(
        "--reward", default="kid_witness", help="name of the reward, or weights by name in JSON (default: kid_witness)"
    )
    parser.add_argument(
        "--env-kwargs",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="further arguments of the environment, in JSON",
    )
    parser.add_argument(
        "--agent-kwargs",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the agent, in JSON",
    )
    parser.add_argument("--timesteps", type=int, default=1_000_000, help="rows to step in all (default: 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    parser.add_argument("--out", type=folder, help="folder of the run (default: runs/AGENT-TESTBED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--eval-every", type=int, help="rows stepped between evaluations (default: a tenth of them all)"
    )
    parser.add_argument("--eval-episodes", type=int, default=512, help="held-out episodes of each (default: 512)")
    parser.add_argument(
        "--tuned",
        nargs="+",
        action="extend",
        type=folder,
        default=[],
        metavar="FILE",
        help="guidance files to compare with",
    )
    parser.add_argument("--compare-episodes", type=int, default=2048, help="fresh episodes at the end (default: 2048)")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard events to --out")
    add_device(parser)
    return parser


def _environment(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the environment: those of its name, then those of the flags."""
    import gymnasium as gym

    from guidegym.envs import make_task

    if arguments.env not in ENVIRONMENTS:
        raise GuideGymError(f"`--env` must be of {', '.join(ENVIRONMENTS)}, got {arguments.env!r}")
    further = parse_pairs(arguments.env_kwargs, "--env-kwargs")
    fixed = {"testbed", "reward", "num_steps", "observation", "split", "device"}
    for name in further:
        if name in fixed:
            raise GuideGymError(f"`--env-kwargs` may not set {name}, which has a flag or is the command's own")
    check_settings(make_task, further, what="the environment", but=fixed)
    steps = {} if arguments.steps is None else {"num_steps": arguments.steps}
    return {
        **gym.spec(arguments.env).kwargs,
        **further,
        **steps,
        "testbed": arguments.testbed,
        "reward": parse_value(arguments.reward, "--reward"),
        "observation": "features",
        "device": str(check_device(arguments.device)),
    }


def _list_agents() -> int:
    from guidegym.learning import resolved_settings, shipped_learners

    for name in shipped_learners():
        module = inspect.getmodule(find("agent", name))
        print(f"{name:16s} {(getattr(module, '__doc__', None) or '').splitlines()[0]}")
        settings = ", ".join(f"{key}={value}" for key, value in resolved_settings(name, {}).items())
        print(f"{'':16s} {settings}")
    return 0


def _events(arguments: argparse.Namespace, out: Path) -> Any:
    """Return a TensorBoard writer, or None where none is asked for."""
    if not arguments.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise GuideGymError(
            "`--tensorboard` needs the package tensorboard: pip install 'guidegym[tensorboard]'"
        ) from error
    writer: Any = SummaryWriter(str(out / "tensorboard"))
    return writer


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    # Imported here, after the arguments are parsed: Stable-Baselines3 takes seconds.
    from guidegym.envs import make_task
    from guidegym.learning import LearnSettings, learn, load_learner, resolved_settings, shipped_learners
    from guidegym.learning.loop import CHECKPOINT

    if arguments.list:
        return _list_agents()
    if arguments.agent is None:
        parser.error(f"--agent is needed; those that learn are {', '.join(shipped_learners())}")
    environment = _environment(arguments)
    own = parse_pairs(arguments.agent_kwargs, "--agent-kwargs")
    if len(set(arguments.tuned)) != len(arguments.tuned):
        raise GuideGymError(f"`--tuned` names a file twice, of {', '.join(map(str, arguments.tuned))}")
    tuned = {str(path): Guidance.load(path) for path in arguments.tuned}
    whole_number("--compare-episodes", arguments.compare_episodes, least=2, most=MOST_EPISODES)
    whole_number("eval_episodes", arguments.eval_episodes, least=1, most=MOST_EPISODES)
    test = make_task(**environment, split="test")
    out = arguments.out or Path("runs") / f"{Path(arguments.agent).stem}-{test.engine.testbed.name}"
    for guidance in tuned.values():
        Engine.under(test.engine.testbed, test.engine.sampler, guidance)  # says before the work what does not fit
    identity = {
        "agent": arguments.agent,
        "seed": arguments.seed,
        "eval_episodes": arguments.eval_episodes,
        **{name: value for name, value in with_defaults(make_task, environment).items() if name != "device"},
        **resolved_settings(arguments.agent, own),
        "weights": test.engine.testbed.identity,
    }
    settings = LearnSettings(
        timesteps=arguments.timesteps,
        out=out,
        eval_every=max(arguments.timesteps // 10, 1) if arguments.eval_every is None else arguments.eval_every,
        eval_episodes=arguments.eval_episodes,
        identity=json.dumps(identity, sort_keys=True),
    )
    learner = load_learner(
        arguments.agent, environment, timesteps=arguments.timesteps, seed=arguments.seed, settings=own
    )
    events = _events(arguments, out)

    def note(timesteps: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            events.add_scalar(name, value, timesteps)

    try:
        progress = learn(learner, test, settings, resume=arguments.resume, on_scalars=None if events is None else note)
    except KeyboardInterrupt:
        if (out / CHECKPOINT).is_file():
            print(f"stopped; the same command with --resume goes on from {out}", file=sys.stderr)
        raise
    finally:
        if events is not None:
            events.close()
    print(f"learned from {learner.timesteps} rows stepped, in {progress.seconds:.0f} s")
    try:
        return _compare(arguments, environment, tuned, out)
    except KeyboardInterrupt:
        print("stopped while comparing; the same command with --resume makes the table", file=sys.stderr)
        raise


def _compare(arguments: argparse.Namespace, environment: dict[str, Any], tuned: dict[str, Guidance], out: Path) -> int:
    """Print and write the table on fresh episodes, and say how to replay the agent."""
    from guidegym.agent_comparison import COLUMNS, compare_agents
    from guidegym.evaluation.measuring.ranking import headings, ranked_rows
    from guidegym.learning.loop import AGENT, BEST

    began = time.monotonic()
    result = compare_agents(
        environment,
        agent=out / AGENT,
        best=out / BEST,
        tuned=tuned,
        num=arguments.compare_episodes,
        seed=1 + arguments.seed,
    )
    print(format_table(headings(COLUMNS), ranked_rows(result.compared, COLUMNS)))
    print(result.note)
    content = {**result.to_json(), "environment": environment, "agent": arguments.agent, "seed": arguments.seed}
    write_atomically(out / "comparison.json", (json.dumps(content, indent=2) + "\n").encode())
    sampler = make_sampler(environment.get("sampler", "ddim"), environment.get("num_steps", 20))
    print(f"compared in {time.monotonic() - began:.0f} s; replay the agent with")
    where = f"--guidance {shlex.quote(str(out / AGENT))} --testbed {shlex.quote(arguments.testbed)}"
    print(f"  python -m guidegym.sample {where} {sampler_flags(sampler)} --out {shlex.quote(str(out / 'samples'))}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(_main, argv, flags=FLAGS)


if __name__ == "__main__":
    sys.exit(main())
