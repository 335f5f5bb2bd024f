"""The command line: verbs and their shims, help that imports nothing heavy, errors that name the flag, completion."""

import dataclasses
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from cyclopts import App
from short_search import SHORT

from guidegym import GuideGymError
from guidegym.cli import constants, evaluate, sample, train_models
from guidegym.cli.app import VERBS, main, make_app, run_verb
from guidegym.cli.flags import naming_flags
from guidegym.registry import registered
from guidegym.support.settings import check_seed, whole_number
from guidegym.tune import main as tune

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "optuna", "plotly", "stable_baselines3", "matplotlib", "scipy", "sqlalchemy")


def test_help_and_bad_flags_import_nothing_heavy() -> None:
    words = [["--help"], *([verb, "--help"] for verb in VERBS), ["tune", "--sed", "3"], ["sample", "--num", "0"]]
    code = (
        "import sys; from guidegym.cli.app import main; "
        f"print([main(words) for words in {words!r}], [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == f"{[0] * (1 + len(VERBS)) + [2, 2]} []"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_shim_and_help_for_every_flag(verb: str) -> None:
    shim = importlib.import_module(f"guidegym.{verb.replace('-', '_')}")
    assert (shim.main.func, shim.main.args) == (run_verb, (verb,))
    app = make_app()[verb]
    assert isinstance(app, App)
    flags = [one for one in app.assemble_argument_collection(parse_docstring=True) if one.show]
    assert len(flags) >= 5
    for one in flags:
        assert one.parameter.help, f"{verb} {one.name}"


@pytest.mark.parametrize("verb", VERBS)
def test_settings_are_frozen_and_their_defaults_are_good(verb: str) -> None:
    module = verb.replace("-", "_")
    function = getattr(importlib.import_module(f"guidegym.cli.{module}"), module)
    settings = get_type_hints(function)["settings"]
    assert inspect.signature(function).parameters["settings"].default == settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().testbed = "other"


def test_the_command_and_its_modules_are_one_program(tmp_path: Path) -> None:
    said = [
        subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for words in (["guidegym", "reproduce", "--list"], ["guidegym.reproduce", "--list"])
    ]
    assert said[0] == said[1]
    assert "prog_cost" in said[0]


@pytest.mark.parametrize(
    ("module", "constant", "shown"),
    [
        ("guidegym.evaluation.measuring.metrics", "METRICS", "names"),
        ("guidegym.search.optimizers", "OPTIMIZERS", "names"),
        ("guidegym.core.sampling", "BATCH_SIZE", "number"),
        ("guidegym.evaluation.measuring.metrics", "RESAMPLES", "number"),
    ],
)
def test_what_help_reads_from_the_source_is_what_is_there(module: str, constant: str, shown: str) -> None:
    there = getattr(importlib.import_module(module), constant)
    read = getattr(constants, shown)(module, constant)
    assert read == (there if shown == "number" else ", ".join(there))


@pytest.mark.parametrize("kind", ["sampler", "testbed", "schedule", "guide"])
def test_the_parts_that_help_lists_are_the_registered_ones(kind: str) -> None:
    of_kind = {"guide": ("guide", "wrapper")}.get(kind, (kind,))
    shown = {name for one in of_kind for name in constants.parts(one).split(", ")}
    ours = {name for name, part in registered(kind).items() if part.__module__.startswith("guidegym.")}
    assert shown == ours


def test_what_help_repeats_is_what_is_there() -> None:
    from guidegym.evaluation.classifiers.measure import Effort
    from guidegym.training.sizes import BUDGETS

    assert (Effort.rows, Effort.attacked) == (evaluate.ROWS, evaluate.ATTACKED)
    assert get_args(get_type_hints(train_models.TrainModelsSettings)["budget"]) == BUDGETS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], 'unknown command "nothing". Available commands: tune, sample, train-agent, '),
        (["tune", "--sed", "3"], "unknown flag --sed, did you mean --seed; see --help"),
        (["tune", "--no-list"], "unknown flag --no-list"),
        (["tune", "--seed"], "--seed needs a value; see --help"),
        (["tune", "extra"], "'extra' is not a flag, and no other arguments are accepted here; see --help"),
        (["tune", "--seed", "5.7"], "`--seed` must be a whole number, got '5.7'"),
        (["tune", "--steps", "none"], "`--steps` must be a whole number, got 'none'"),
        (["tune", "--timeout", "soon"], "`--timeout` must be a number, got 'soon'"),
        (["tune", "--out", " "], "`--out` must not be empty"),
        (["sample", "--labels", "--num", "3"], "--labels needs a value; see --help"),
        (["evaluate", "--guidance", "unguided", "--scales", "1", "x"], "`--scales` must be a number, got 'x'"),
        (["evaluate", "--guidance", "unguided", "--extractor", "eye"], 'invalid value "eye" for --extractor. Choose'),
        (["evaluate", "--guidance", "unguided", "--rows", "3"], "`--rows` belongs to `--classifier`, got it with"),
        (["train-models", "--testbed", "moon"], "`--testbed` must be one of fashion, digits, "),
    ],
)
def test_a_command_line_that_cannot_be_read_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {said}")
    assert errors.count("\n") == 1


def test_flags_come_again_negative_and_in_lists(capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app()
    words = ["sample", "--labels", "a", "b", "--seed", "3", "--labels", "c", "--seed=4", "--eta", "-1e-3"]
    _, bound, _ = app.parse_args(words)
    settings = bound.arguments["settings"]
    assert isinstance(settings, sample.SampleSettings)
    assert (settings.labels, settings.seed, settings.sampling.eta) == (("a", "b", "c"), 4, -1e-3)
    _, bound, _ = app.parse_args(["reproduce", "one", "two", "--claim", "three", "--quick"])
    assert (bound.arguments["settings"].claims, bound.arguments["settings"].claim) == (("one", "two"), ("three",))


@dataclasses.dataclass(frozen=True)
class _Settings:
    seed: int | None = 3
    per_class: int | None = None


def test_errors_name_the_flag_of_the_call_they_come_from_and_of_no_other() -> None:
    with (
        pytest.raises(GuideGymError, match=r"^`--seed` must be a whole number in 0"),
        naming_flags(_Settings(), "seed"),
    ):
        check_seed(-1)
    with pytest.raises(GuideGymError, match=r"^`--seed` must be"), naming_flags(_Settings(), start="seed"):
        whole_number("start", -1, least=0)
    for name in ("other", "samples"):  # passed by nobody; passed, but not given
        with pytest.raises(GuideGymError, match=f"^`{name}` must be"), naming_flags(_Settings(), samples="per_class"):
            whole_number(name, -1, least=0)


def test_an_old_spelling_of_the_optimizer_works_and_warns_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*SHORT, "--trials", "7", "--out", str(tmp_path)]
    assert tune([*flags, "--sampler", "random"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warned == ["warning: --sampler is the diffusion sampler now; use --optimizer random"]
    results = (tmp_path / "results.json").read_bytes()
    assert json.loads(results)["settings"]["optuna_sampler"] == "random"
    assert tune([*flags, "--optimizer", "random"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert (tmp_path / "results.json").read_bytes() == results


@pytest.mark.parametrize(
    ("flags", "sampler"),
    [
        (["--eta", "0.5"], "DDIM(num_steps=5, eta=0.5, spacing='trailing')"),
        (["--sampler-kwargs", "spacing=leading"], "DDIM(num_steps=5, eta=1.0, spacing='leading')"),
        (["--sampler", "ddpm"], "DDPM(num_steps=5, "),
    ],
)
def test_a_study_is_searched_with_another_diffusion_sampler(flags: list[str], sampler: str, tmp_path: Path) -> None:
    assert tune([*SHORT, "--trials", "6", *flags, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["sampler"].startswith(sampler)
    assert "--steps 5" in results["replay"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "script"
    assert main(["--install-completion", "--shell", shell, "--output", str(script)]) == 0
    assert str(script) in capsys.readouterr().out
    text = script.read_text()
    for word in (*VERBS, "optimizer", "confirm-samples", "inception"):
        assert word in text
    if shell == "bash":
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_installed_command_is_the_entry_point() -> None:
    assert 'guidegym = "guidegym.cli.app:main"' in (ROOT / "pyproject.toml").read_text()
    assert main(["--version"]) == 0
