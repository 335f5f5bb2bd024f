"""``guidegym train-agent``: train an agent in an environment, and compare it with baselines that need no training."""

import inspect
import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from guidegym.cli.constants import parts
from guidegym.cli.flags import MANY, check_device, naming_flags
from guidegym.cli.values import parse_pairs, parse_value
from guidegym.errors import GuideGymError
from guidegym.registry import find, registered
from guidegym.report.tables import format_table
from guidegym.support.settings import MAX_SEED, check_settings, whole_number, with_defaults
from guidegym.support.user_code import import_flags

if TYPE_CHECKING:
    from guidegym.envs.task import Task
    from guidegym.guidance import Guidance
    from guidegym.learning import LearnSettings

ENVIRONMENTS = ("guidegym/GuidanceWeight-v0", "guidegym/ProgressiveGuidance-v0")
TESTBEDS = parts("testbed")
MOST_EPISODES = 1_000_000
"""Upper bound on episodes, all of which are held in memory; a larger number is taken for a typing error."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainAgentSettings:
    """The agent, its environment, its training and its baselines."""

    agent: str | None = None
    """a shipped agent, a dotted module, or a path to a Python file"""
    list: bool = False
    """print the shipped agents that learn, and exit"""
    env: Annotated[str, Parameter(help=f"{', '.join(ENVIRONMENTS)}, or a registered one (default: the first)")] = (
        ENVIRONMENTS[0]
    )
    testbed: Annotated[
        str, Parameter(help=f"{TESTBEDS}, or a path to a Python file or a folder of train-models (default: gaussians)")
    ] = "gaussians"
    steps: int | None = None
    """reverse steps, the length of an episode (default: 20)"""
    reward: str = "kid_witness"
    """objective by name or reference, or JSON with weights by objective (default: kid_witness)"""
    env_kwargs: Annotated[tuple[str, ...], MANY] = ()
    """further arguments of the environment, NAME=VALUE, in JSON"""
    agent_kwargs: Annotated[tuple[str, ...], MANY] = ()
    """settings of the agent, NAME=VALUE, in JSON"""
    timesteps: int = 1_000_000
    """total environment steps, over all rows (default: 1000000)"""
    seed: int = 0
    """seed of everything (default: 0)"""
    out: Path | None = None
    """folder of the run (default: runs/AGENT-TESTBED)"""
    resume: bool = False
    """continue the run in --out"""
    eval_every: int | None = None
    """environment steps between evaluations (default: a tenth of --timesteps)"""
    eval_episodes: int = 512
    """held-out episodes per evaluation (default: 512)"""
    tuned: Annotated[tuple[Path, ...], MANY] = ()
    """guidance files to compare with"""
    compare_episodes: int = 2048
    """fresh episodes of the final comparison (default: 2048)"""
    tensorboard: bool = False
    """write TensorBoard events to --out"""
    device: str | None = None
    """torch device (default: cuda if there is a GPU, otherwise cpu)"""

    def __post_init__(self) -> None:
        if len(set(self.tuned)) != len(self.tuned):
            raise GuideGymError(f"names a file twice, of {', '.join(map(str, self.tuned))}", argument="--tuned")
        whole_number("--seed", self.seed, least=0, most=MAX_SEED)
        whole_number("--compare-episodes", self.compare_episodes, least=2, most=MOST_EPISODES)
        whole_number("--eval-episodes", self.eval_episodes, least=1, most=MOST_EPISODES)


DEFAULTS = TrainAgentSettings()


def train_agent(settings: TrainAgentSettings = DEFAULTS) -> int:
    """Train an agent in an environment, and compare it with baselines that need no training."""
    # Imported here and below, once the flags are validated: importing torch and Stable-Baselines3 takes seconds.
    from guidegym.core.engine import Engine
    from guidegym.envs import make_task
    from guidegym.guidance import Guidance
    from guidegym.learning import learn, load_learner
    from guidegym.learning.learn import CHECKPOINT

    if settings.list:
        return _list_agents()
    if settings.agent is None:
        raise GuideGymError(f"`--agent` is required; agents that learn: {', '.join(registered('agent'))}; see --help")
    environment = _environment(settings)
    own = parse_pairs(settings.agent_kwargs, "--agent-kwargs")
    tuned = {str(path): Guidance.load(path) for path in settings.tuned}
    with naming_flags(settings, "reward", "device", num_steps="steps"):
        test = make_task(**environment, split="test")
    out = settings.out or Path("runs") / f"{Path(settings.agent).stem}-{test.engine.model.name}"
    for guidance in tuned.values():
        Engine.under(test.engine.model, test.engine.sampler, guidance)  # reports a mismatch before training starts
    run = _learn_settings(settings, test, environment, own, out)
    with naming_flags(settings, "timesteps"):
        learner = load_learner(
            settings.agent, environment, timesteps=settings.timesteps, seed=settings.seed, settings=own
        )
    events = _events(settings, out)

    def note(timesteps: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            events.add_scalar(name, value, timesteps)

    try:
        progress = learn(learner, test, run, resume=settings.resume, on_scalars=None if events is None else note)
    except KeyboardInterrupt:
        if (out / CHECKPOINT).is_file():
            print(f"stopped; the same command with --resume continues from {out}", file=sys.stderr)
        raise
    finally:
        if events is not None:
            events.close()
    print(f"trained for {learner.timesteps} environment steps, in {progress.seconds:.0f} s")
    try:
        return _compare(settings, environment, tuned, out)
    except KeyboardInterrupt:
        print("stopped during the comparison; the same command with --resume completes it", file=sys.stderr)
        raise


def _environment(settings: TrainAgentSettings) -> dict[str, Any]:
    """Return the arguments of the environment: those it is registered with, updated by the flags."""
    from guidegym.envs import make_task

    further = parse_pairs(settings.env_kwargs, "--env-kwargs")
    fixed = {"testbed", "reward", "num_steps", "observation", "split", "device"}
    for name in further:
        if name in fixed:
            raise GuideGymError(f"`--env-kwargs` may not set {name}, which has its own flag or is set by the command")
    check_settings(make_task, further, what="the environment", but=fixed)
    steps = {} if settings.steps is None else {"num_steps": settings.steps}
    return {
        **_registered(settings.env),
        **further,
        **steps,
        "testbed": settings.testbed,
        "reward": parse_value(settings.reward, "--reward"),
        "observation": "features",
        "device": str(check_device(settings.device)),
    }


def _registered(env: str) -> dict[str, Any]:
    """Return the arguments that an environment is registered with in Gymnasium.

    Raises:
        GuideGymError: If no environment has that name, or its class is not this package's.
    """
    import gymnasium as gym

    try:
        spec = gym.spec(env)
    except (gym.error.Error, ImportError) as error:
        raise GuideGymError(
            f"must be one of {', '.join(ENVIRONMENTS)}, or registered, got {env!r}", argument="--env"
        ) from error
    if spec.entry_point != "guidegym.envs:GuidanceEnv":
        raise GuideGymError(
            f"must have the entry point guidegym.envs:GuidanceEnv; {env!r} has {spec.entry_point}", argument="--env"
        )
    return dict(spec.kwargs)


def _list_agents() -> int:
    from guidegym.learning import resolved_settings

    for name in registered("agent"):
        print(f"{name:16s} {(inspect.getdoc(find('agent', name)) or '').partition(':')[0]}")
        said = ", ".join(f"{key}={value}" for key, value in resolved_settings(name, {}).items())
        print(f"{'':16s} {said}")
    return 0


def _events(settings: TrainAgentSettings, out: Path) -> Any:
    """Return a TensorBoard writer, or None if none is requested."""
    if not settings.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise GuideGymError(
            "`--tensorboard` needs the package tensorboard: pip install 'guidegym[tensorboard]'"
        ) from error
    writer: Any = SummaryWriter(str(out / "tensorboard"))
    return writer


def _learn_settings(
    settings: TrainAgentSettings, test: "Task", environment: dict[str, Any], own: dict[str, Any], out: Path
) -> "LearnSettings":
    """Return the training settings, including those that a resumed run must share."""
    from guidegym.envs import make_task
    from guidegym.learning import LearnSettings, resolved_settings

    assert settings.agent is not None
    identity = {
        "agent": settings.agent,
        "seed": settings.seed,
        "eval_episodes": settings.eval_episodes,
        **{name: value for name, value in with_defaults(make_task, environment).items() if name != "device"},
        **resolved_settings(settings.agent, own),
        "weights": test.engine.model.identity,
    }
    tenth = max(settings.timesteps // 10, 1)
    with naming_flags(settings, "timesteps", "eval_every", "eval_episodes"):
        return LearnSettings(
            timesteps=settings.timesteps,
            out=out,
            eval_every=tenth if settings.eval_every is None else settings.eval_every,
            eval_episodes=settings.eval_episodes,
            identity=identity,
        )


def _compare(settings: TrainAgentSettings, environment: dict[str, Any], tuned: dict[str, "Guidance"], out: Path) -> int:
    """Print and write the comparison on fresh episodes, and print the command that replays the agent."""
    from guidegym.agent_comparison import compare_agents
    from guidegym.diffusion import make_sampler, sampler_flags
    from guidegym.evaluation.measuring.ranking import headings, ranked_rows
    from guidegym.guidance import Guidance
    from guidegym.learning.learn import AGENT, BEST
    from guidegym.support.files import write_atomically

    began = time.monotonic()
    result = compare_agents(
        environment,
        agent=out / AGENT,
        best=out / BEST,
        tuned=tuned,
        num=settings.compare_episodes,
        seed=1 + settings.seed,
    )
    print(format_table(headings(result.columns), ranked_rows(result.compared, result.columns)))
    print(result.note)
    content = {**result.to_json(), "environment": environment, "agent": settings.agent, "seed": settings.seed}
    write_atomically(out / "comparison.json", (json.dumps(content, indent=2) + "\n").encode())
    sampler = make_sampler(environment.get("sampler", "ddim"), environment.get("num_steps", 20))
    took = f"compared in {time.monotonic() - began:.0f} s"
    learned = Guidance.load(out / AGENT)
    policy = learned.policy
    if policy is not None and policy.environment != "guidance":
        print(f"{took}; the agent is {out / AGENT}, and acts in environment '{policy.environment}'")
        return 0
    print(f"{took}; replay the agent with")
    imports = import_flags(learned.to_json() + sampler_flags(sampler))
    where = f"{imports}--guidance {shlex.quote(str(out / AGENT))} --testbed {shlex.quote(settings.testbed)}"
    print(f"  python -m guidegym.sample {where} {sampler_flags(sampler)} --out {shlex.quote(str(out / 'samples'))}")
    return 0
