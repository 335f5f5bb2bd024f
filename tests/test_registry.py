"""Parts of one's own: registered or referred to, in files and in code, and never run by a file."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch

import guidegym as gg
from guidegym import registry
from guidegym.guidance import GuideInput, GuideOutput, make_guide
from guidegym.sample import main as sample
from guidegym.support import user_code
from guidegym.testbeds import load_testbed
from guidegym.tune import main as tune

ROOT = Path(__file__).parent.parent
PARTS = '''
"""Parts of a user's own."""
from dataclasses import dataclass

import torch

import guidegym as gg


@gg.register("schedule", "zigzag")
@dataclass(frozen=True)
class Zigzag:
    """Two weights in turn."""

    first: float
    second: float

    def __call__(self, t, process):
        """Return the weights."""
        turn = torch.arange(len(t), device=t.device) % 2
        return torch.where(turn == 0, self.first, self.second).double()


@dataclass(frozen=True)
class Doubled:
    """Twice the gradient of the guide inside."""

    guide: gg.Guide
    named: "gg.Guide | None" = None

    @property
    def classifier(self):
        """That of the guide inside."""
        return self.guide.classifier

    @property
    def through_denoiser(self):
        """As the guide inside."""
        return self.guide.through_denoiser

    def check(self, networks):
        """Check the guide inside."""
        self.guide.check(networks)

    def gradient(self, inputs):
        """Return twice its gradient."""
        guided = self.guide.gradient(inputs)
        return guided._replace(gradient=2 * guided.gradient)
'''


@pytest.fixture(autouse=True)
def _imports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test leave files behind that later replay commands would import."""
    monkeypatch.setattr(user_code, "_IMPORTED", [*user_code._IMPORTED])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = tmp_path_factory.mktemp("parts") / "my_parts.py"
    path.write_text(PARTS)
    return user_code.import_parts(str(path))


def test_own_parts_save_load_and_sample_like_ours(parts: ModuleType, tmp_path: Path) -> None:
    own = gg.Guidance(parts.Doubled(gg.Likelihood("exact")), parts.Zigzag(1.0, 0.5))
    own.save(tmp_path / "own.json")
    written = json.loads((tmp_path / "own.json").read_text())
    assert written["weight"] == {"kind": "zigzag", "first": 1.0, "second": 0.5}
    assert written["guide"]["kind"] == "my_parts.py:Doubled"
    assert gg.Guidance.load(tmp_path / "own.json") == own
    testbed = load_testbed("gaussians")
    doubled = gg.sample(testbed, own, labels=[0, 1, 0, 1], sampler=gg.DDIM(4))
    twice = gg.Guidance(gg.Likelihood("exact"), parts.Zigzag(2.0, 1.0))
    torch.testing.assert_close(doubled.x, gg.sample(testbed, twice, labels=[0, 1, 0, 1], sampler=gg.DDIM(4)).x)


def test_a_guide_within_a_guide_within_a_guide_survives_the_round_trip(parts: ModuleType) -> None:
    inner = gg.Momentum(parts.Doubled(gg.LookAhead(gg.ClassEnergy("exact"))))
    own = gg.Guidance(parts.Doubled(inner, named=gg.Likelihood("exact")), gg.Constant(1.0))
    assert gg.Guidance.from_json(own.to_json()) == own


def test_a_file_never_imports_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "never.py").write_text("raise SystemExit('this code must not run')\n")
    for kind in (str(tmp_path / "never.py") + ":Guide", "never.py:Guide", "a_module_nobody_imported:Guide"):
        content = {
            "format": "guidegym-guidance/1",
            "guide": {"kind": kind, "classifier": "exact"},
            "weight": {"kind": "constant", "value": 1.0},
        }
        with pytest.raises(gg.FileFormatError, match="is code that was not imported: import it first"):
            gg.Guidance.from_json(json.dumps(content))
    assert "a_module_nobody_imported" not in sys.modules


@pytest.mark.parametrize("kind", ["os:system", "subprocess:Popen", "pathlib:Path", "guidegym.guidance:Constant"])
def test_a_file_builds_nothing_but_parts_of_the_kind(kind: str) -> None:
    content = {"format": "guidegym-guidance/1", "guide": {"kind": kind}, "weight": {"kind": "constant", "value": 1.0}}
    with pytest.raises(gg.FileFormatError, match=r"is not a dataclass|is not a valid guide: it has no"):
        gg.Guidance.from_json(json.dumps(content))


def test_a_name_belongs_to_one_part() -> None:
    with pytest.raises(gg.GuideGymError, match="guide 'likelihood' is already registered, by guidegym"):

        @gg.register("guide", "likelihood")
        @dataclass(frozen=True)
        class Other(gg.Likelihood):
            """Another guide of that name."""

    assert gg.Guidance.from_json(gg.Guidance(gg.Likelihood("exact"), gg.Constant(1.0)).to_json()).guide == (
        gg.Likelihood("exact")
    )


def test_a_definition_that_is_run_again_replaces_itself_and_another_is_refused() -> None:
    def again() -> gg.Objective:
        def twice_defined(finished: gg.Finished) -> torch.Tensor:
            return finished.x.sum()

        return gg.Objective("twice_defined", twice_defined)

    for _ in range(2):
        latest = gg.register("objective", "twice_defined")(again())
        assert registry.find("objective", "twice_defined") is latest
    with pytest.raises(gg.GuideGymError, match="objective 'twice_defined' is already registered, by"):
        gg.register("objective", "twice_defined")(gg.Objective("twice_defined", torch.sum))  # type: ignore[arg-type]


def test_what_lacks_a_method_is_refused_where_it_is_registered() -> None:
    with pytest.raises(gg.GuideGymError, match="Half is not a valid guide: it has no `through_denoiser`"):

        @gg.register("guide", "half")
        @dataclass(frozen=True)
        class Half:
            """A guide without all that guides have."""

            classifier: str

            def gradient(self, inputs: GuideInput) -> GuideOutput:
                """Not reached."""
                raise NotImplementedError

    assert "half" not in registry.names("guide")


def test_wrong_names_and_kinds_get_one_line() -> None:
    with pytest.raises(gg.GuideGymError, match="unknown kind of part 'magic'; the kinds are guide, wrapper"):
        gg.register("magic", "one")
    with pytest.raises(gg.GuideGymError, match="`name` must be letters, digits"):
        gg.register("guide", "two words")
    with pytest.raises(gg.GuideGymError, match=r"unknown schedule 'zagzig'; known: carried, constant"):
        registry.find("schedule", "zagzig")
    with pytest.raises(gg.GuideGymError, match=r"no module 'no_such_parts', and it is not a path to a \.py file"):
        user_code.import_parts("no_such_parts")


def test_what_is_defined_inside_a_function_must_be_registered() -> None:
    @dataclass(frozen=True)
    class Inside(gg.Likelihood):
        """A guide that no reference leads to."""

    with pytest.raises(gg.GuideGymError, match="Inside has no name for use in files: register it by"):
        gg.Guidance(Inside("exact"), gg.Constant(1.0)).to_json()


def test_an_environment_takes_own_parts_as_objects(parts: ModuleType) -> None:
    guide = parts.Doubled(gg.Likelihood("exact"))
    assert make_guide(guide) is guide
    assert make_guide({"kind": "my_parts.py:Doubled", "guide": {"kind": "likelihood", "classifier": "exact"}}) == guide


def test_a_file_that_has_not_changed_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text("from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass One:\n    x: float\n")
    first = user_code.import_parts(str(path))
    assert user_code.import_parts(str(path)).One is first.One
    path.write_text(path.read_text() + "\nCHANGED = True\n")
    assert user_code.import_parts(str(path)).CHANGED


STUDY = '''
"""A study whose guide and sampler are its own, and registered nowhere."""
from dataclasses import dataclass

import guidegym as gg
from guidegym.guidance import ClassifierGuide, gradient_of


@dataclass(frozen=True)
class Tempered(ClassifierGuide):
    """The likelihood at a temperature."""

    temperature: float = 1.0

    def gradient(self, inputs):
        """Return the gradient."""
        classify = inputs.networks.classifier(self.classifier)
        return gradient_of(
            lambda logits: inputs.target * (logits / self.temperature).log_softmax(dim=1), classify, inputs.x_t, inputs.t
        )


@dataclass(frozen=True)
class Mine(gg.DDIM):
    """DDIM under another name."""


def study(testbed="gaussians"):
    """Search the temperature."""

    def space(trial):
        return gg.Guidance(Tempered("exact", trial.suggest_float("temperature", 0.5, 2.0)), gg.Constant(1.0))

    baseline = gg.Baseline("plain", gg.Guidance(Tempered("exact"), gg.Constant(1.0)), params={"temperature": 1.0})
    return gg.Study("tempered", "A temperature.", testbed, Mine(4), space, (baseline,), num_trials=3, samples_per_class=4)
'''


def test_a_study_with_parts_of_its_own_is_searched_and_says_how_to_replay_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_study.py").write_text(STUDY)
    assert (
        tune(["--study", str(tmp_path / "my_study.py"), "--confirm-samples", "4", "--out", str(tmp_path / "run")]) == 0
    )
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert words[:3] == ["python", "-m", "guidegym.sample"]
    assert ("--import", str(tmp_path / "my_study.py")) in itertools.pairwise(words)
    assert words[-4:] == ["--sampler", "my_study.py:Mine", "--steps", "4"]
    written = json.loads((tmp_path / "run" / "best.json").read_text())
    assert written["guide"]["kind"] == "my_study.py:Tempered"
    assert sample([*words[3:], "--num", "4", "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "samples.npz").is_file()


def test_an_installed_package_brings_its_parts_and_a_broken_one_only_warns(tmp_path: Path) -> None:
    (tmp_path / "outside_parts.py").write_text(PARTS.replace('"zigzag"', '"outside_zigzag"'))
    for name, module in (("outside", "outside_parts"), ("broken", "module_that_is_not_there")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[guidegym.parts]\n{name} = {module}\n")
    code = "from guidegym.registry import names; print(names('schedule'))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    assert "'outside_zigzag'" in done.stdout
    assert "parts of 'module_that_is_not_there' cannot be imported: No module named" in done.stderr


def test_a_guide_of_ours_is_one_file_that_nothing_else_names(tmp_path: Path) -> None:
    """A module that is put into the guides' package is found, read from files and sampled with: registering is enough."""
    (tmp_path / "fresh_guide.py").write_text(
        "from dataclasses import dataclass\n"
        "from guidegym.guidance.guides import ClassifierGuide\n"
        "from guidegym.guidance.guide import gradient_of\n"
        "from guidegym.registry import register\n\n"
        "@register('guide', 'fresh')\n"
        "@dataclass(frozen=True)\n"
        "class Fresh(ClassifierGuide):\n"
        "    def gradient(self, inputs):\n"
        "        classify = inputs.networks.classifier(self.classifier)\n"
        "        return gradient_of(lambda logits: (inputs.target * logits).sum(dim=1), classify, inputs.x_t, inputs.t)\n"
    )
    text = {"format": "guidegym-guidance/1", "guide": {"kind": "fresh", "classifier": "exact"}}
    text["weight"] = {"kind": "constant", "value": 1.0}
    (tmp_path / "fresh.json").write_text(json.dumps(text))
    code = (
        f"import guidegym.guidance; guidegym.guidance.__path__.append({str(tmp_path)!r})\n"
        "import guidegym as gg\n"
        f"guidance = gg.Guidance.load({str(tmp_path / 'fresh.json')!r})\n"
        "gg.sample(gg.load_testbed('gaussians'), guidance, labels=[0, 1], sampler=gg.DDIM(3))\n"
        "print(type(guidance.guide).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Fresh", done.stderr
