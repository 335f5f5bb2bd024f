"""Claims: rules, verdicts, records, and all of them on digits."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from guidegym import GuideGymError, Testbed, load_testbed
from guidegym.claims.claim import Claim, Effect, load_claim
from guidegym.claims.families import plain
from guidegym.claims.lab import EXTENSIONS, Lab
from guidegym.claims.record import records_in
from guidegym.claims.results_page import results_page
from guidegym.claims.verdicts import reproduce
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.measuring.measurement import Measurement
from guidegym.evaluation.sample_sets.collect import Collection
from guidegym.metrics.resampling import Estimate
from guidegym.registry import names
from guidegym.reproduce import main as reproduce_command
from guidegym.testbeds.testbed import Training


@pytest.fixture(scope="module")
def digits() -> Testbed:
    return load_testbed("digits")


@pytest.fixture
def lab(digits: Testbed, tmp_path: Path) -> Lab:
    collection = Collection(
        digits, judge_extractor(digits), per_class=6, seed=0, energy="robust", folder=tmp_path / "chunks"
    )
    return Lab(collection, tuning_per_class=6, resamples=20)


def _claim(above: float = 0.0, classifiers: tuple[str, ...] = ()) -> Claim:
    def run(lab: Lab) -> Effect:
        strong, weak = lab.measured({"strong": plain(lab)(8.0), "weak": plain(lab)(0.1)}, ["accuracy"]).values()
        return Effect.more(strong["accuracy"], weak["accuracy"])

    return Claim("strong_hits", "Ours", "nowhere", "Strong guidance hits.", "accuracy gained", run, above, classifiers)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.6, 0.7, "holds"), (0.3, 0.4, "does not hold"), (0.4, 0.6, "undecided"), (-math.inf, math.inf, "undecided")],
)
def test_the_verdict_is_where_the_interval_lies(low: float, high: float, verdict: str) -> None:
    assert _claim(above=0.5).verdict(Estimate(0.5, low, high)) == verdict
    assert _claim(above=0.5).verdict(Estimate(0.5, low, high), 1000) == verdict
    assert _claim(above=0.5).verdict(Estimate(0.5, low, high), 999) == "too few samples"
    assert "above 0.5" in _claim(above=0.5).rule
    assert "at least 1000 samples per method" in _claim(above=0.5).rule


def test_effects_are_differences_of_the_same_resamples() -> None:
    draws = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    one, other = (Measurement(value, draws + value, Estimate(value, value, value)) for value in (1.0, 4.0))
    assert Effect.less(one, other).value == 3.0
    assert Effect.more(one, other).estimate == Estimate(-3.0, -3.0, -3.0)
    assert Effect.known(0.02).estimate == Estimate(0.02, 0.02, 0.02)
    chosen = torch.tensor([0.0] * 7 + [1.0] * 3, dtype=torch.float64)
    assert Effect(1.0, chosen, stepped=True).estimate == Estimate(1.0, 0.0, 1.0)  # most resamples see no difference
    failed = Measurement(math.inf, torch.full((3,), math.inf), Estimate(math.inf, math.inf, math.inf))
    assert _claim().verdict(Effect.less(failed, one).estimate) == "undecided"


def test_weights_are_chosen_on_other_rows_than_they_are_judged_on(lab: Lab) -> None:
    chosen = lab.best_weight(plain(lab), metric="accuracy", weights=(0.1, 8.0), name="plain")
    assert chosen == 8.0
    assert lab.seen == {}  # what was tuned on is not what is shown
    assert lab.notes == {"plain": "the best weight of plain, 8, is the largest that was tried"}
    lab.measured({"strong": plain(lab)(8.0)}, ["accuracy"])
    folders = {path.parent.name for path in lab.collection.folder.rglob("*.safetensors")}
    assert len(folders) == 3  # two weights on the tuning rows, and one of them on the fresh
    assert lab.weights == tuple(sorted(lab.weights))


def test_weights_beyond_the_usual_ones_are_tried_where_the_best_is_at_their_end(lab: Lab) -> None:
    tried: list[float] = []
    usual = list(lab.weights)

    class Falling(Lab):
        """A lab in which every number falls with the weight, down to the last but one extension."""

        def tuning(self, methods: Any, metric: str, **_: Any) -> dict[str, float]:
            weights = [float(name.split()[-1]) for name in methods]
            tried.extend(weights)
            return {name: max(weight, lowest) for name, weight in zip(methods, weights, strict=True)}

    for lowest in (usual[0] / 4, 0.0):
        tried.clear()
        falling = Falling(lab.collection, lab.tuning_per_class, lab.resamples)
        best = falling.best_weight(plain(lab), name="plain")
        further = [usual[0] / 2**power for power in range(1, EXTENSIONS + 1)]
        assert tried == [*usual, *further]
        assert best == (lowest if lowest else further[-1])
        assert ("plain" in falling.notes) == (best == further[-1])


def test_a_claim_is_run_once_and_its_record_says_all(lab: Lab, tmp_path: Path) -> None:
    calls = []
    base = _claim(above=0.3)

    def run(lab: Lab) -> Effect:
        calls.append(1)
        return base.run(lab)

    claim = Claim("strong_hits", "Ours", "nowhere", "Strong guidance hits.", "accuracy gained", run, 0.3)
    out = tmp_path / "out"
    (record,) = reproduce([claim], lab.collection, tuning_per_class=6, out=out, resamples=20)
    assert record["verdict"] == "too few samples"
    assert record["effect"]["low"] > 0.3
    assert [one["method"] for one in record["methods"]] == ["strong", "weak"]
    assert record["network_evaluations"] == 2 * 60 * 45
    assert record["samples"] == 60
    assert json.loads((out / "strong_hits.json").read_text()) == record
    assert (out / "strong_hits.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "results.md").read_text()
    assert page == results_page([record], {})
    assert "**too few samples**" in page
    elsewhere = tmp_path / "pages" / "all.md"
    reproduce([claim], lab.collection, tuning_per_class=6, out=out, page=elsewhere, resamples=20)
    assert len(calls) == 1
    assert "![samples on digits](../out/strong_hits.png)" in elsewhere.read_text()
    (out / "strong_hits.json").unlink()
    (again,) = reproduce([claim], lab.collection, tuning_per_class=6, out=out, resamples=20)
    assert again["network_evaluations"] == record["network_evaluations"]  # what was there already was not for nothing
    base.run(lab)
    assert again["seconds"] >= round(lab.spent.seconds, 1) > 0
    assert lab.spent.evaluations == record["network_evaluations"]
    reproduce([_claim(above=0.99)], lab.collection, tuning_per_class=6, out=out, resamples=20)
    assert json.loads((out / "strong_hits.json").read_text())["rule"] != record["rule"]  # another rule is another run


def test_the_page_shows_the_records_of_testbeds_side_by_side(lab: Lab, tmp_path: Path) -> None:
    claim = _claim(above=0.3)
    (record,) = reproduce([claim], lab.collection, tuning_per_class=6, out=tmp_path / "digits", resamples=20)
    other, elsewhere = {**record, "testbed": "fashion", "verdict": "does not hold"}, tmp_path / "fashion"
    elsewhere.mkdir()
    (elsewhere / "strong_hits.json").write_text(json.dumps(other))
    page = tmp_path / "results.md"
    reproduce(
        [claim],
        lab.collection,
        tuning_per_class=6,
        out=tmp_path / "digits",
        page=page,
        beside=[elsewhere],
        resamples=20,
    )
    said = page.read_text()
    assert said.startswith("# Results on digits and fashion\n")
    assert "| claim | source | digits: verdict, effect, samples per method | fashion: verdict" in said
    assert "**too few samples** on `digits`" in said
    assert "**does not hold** on `fashion`" in said
    assert "](digits/strong_hits.png)" in said
    assert "](fashion/strong_hits.png)" in said
    assert said.count("### strong_hits") == 1
    with pytest.raises(GuideGymError, match=r"must be folders with records of claims; .*empty has none"):
        records_in(tmp_path / "empty")


def test_a_claim_whose_method_fails_has_no_number_and_a_strict_record(lab: Lab, tmp_path: Path) -> None:
    def run(lab: Lab) -> Effect:
        wild, plain_one = lab.measured({"wild": plain(lab)(1e30), "plain": plain(lab)(1.0)}, ["intra_kid"]).values()
        return Effect.less(wild["intra_kid"], plain_one["intra_kid"])

    claim = replace(_claim(), run=run)
    (record,) = reproduce([claim], lab.collection, tuning_per_class=6, out=tmp_path / "out", resamples=20)
    assert record["verdict"] == "too few samples"
    assert "Infinity" not in (tmp_path / "out" / "strong_hits.json").read_text()
    page = (tmp_path / "out" / "results.md").read_text()
    assert "no number: a method failed" in page
    assert "| wild | failed |" in page


def test_what_the_testbed_lacks_is_left_out_and_said(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce([_claim(classifiers=("nobody",))], lab.collection, tuning_per_class=6, out=tmp_path / "out") == []
    assert "strong_hits: left out, digits has no nobody" in "".join(capsys.readouterr())
    assert not (tmp_path / "out" / "results.md").exists()
    assert reproduce_command(["sc_only", "--testbed", "gaussians", "--out", str(tmp_path / "out")]) == 2
    assert "claim 'sc_only' needs self_calibrated, time_dependent, which gaussians lacks" in capsys.readouterr().err


def test_the_page_has_the_claims_of_earlier_runs_and_an_edited_one_is_run_again(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    text = (
        "from guidegym.claims.claim import Claim, Effect\n"
        "def claim():\n"
        "    return Claim('mine', 'ours', 'here', 'It is.', 'one', lambda lab: Effect.known(1.0))\n"
    )
    own.write_text(text)
    for where in (["prog_cost"], [str(own)]):
        reproduce([load_claim(one) for one in where], lab.collection, tuning_per_class=6, out=tmp_path / "out")
    page = (tmp_path / "out" / "results.md").read_text()
    assert "### mine" in page
    assert "### prog_cost" in page
    capsys.readouterr()
    reproduce([load_claim(str(own))], lab.collection, tuning_per_class=6, out=tmp_path / "out")
    assert "tested on" in capsys.readouterr().out
    own.write_text(text.replace("known(1.0)", "known(-1.0)"))
    reproduce([load_claim(str(own))], lab.collection, tuning_per_class=6, out=tmp_path / "out")
    assert "mine: does not hold (-1.00 [-1.00, -1.00])\n" in capsys.readouterr().out


def test_a_claim_that_is_none_is_one_line(lab: Lab, tmp_path: Path) -> None:
    base = _claim()
    wrong: list[tuple[Any, str]] = [
        (lambda lab: 3, "`run` of claim 'strong_hits' must return an Effect, got int"),
        (lambda lab: lab.measured({}, ["fid"]), "no metric 'fid'; known: frechet"),
    ]
    for run, said in wrong:
        claim = replace(base, run=run)
        with pytest.raises(GuideGymError, match=said):
            reproduce([claim], lab.collection, tuning_per_class=6, out=tmp_path / "out")
    with pytest.raises(GuideGymError, match="two claims are named 'strong_hits'"):
        reproduce([base, base], lab.collection, tuning_per_class=6, out=tmp_path / "out")
    with pytest.raises(GuideGymError, match=r"letters, digits, _ and -, got 'a/b'"):
        replace(base, name="a/b")


def test_a_claim_refuses_networks_that_did_not_learn_what_it_is_about_or_not_alike(
    lab: Lab, digits: Testbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = replace(_claim(classifiers=("a", "b")), calibrated=("a",), alike=("a", "b"))

    def why(**trained: Training) -> list[str]:
        return claim.unfit(replace(digits, trained=trained))

    assert why(a=Training(640, 10, 0.2), b=Training(640, 10)) == []
    assert why(a=Training(640, 10, 0.95), b=Training(640, 10)) == [
        "a learned no score: its error is 0.950, and that of none is 1"
    ]
    assert why(a=Training(640, 10), b=Training(640, 10)) == why(a=Training(640, 10, 0.2)) == []
    untold = claim.untold(replace(digits, trained={"a": Training(640, 10)}))
    assert untold == ["the score error of a is not known", "the training of b is not known"]
    assert why(a=Training(640, 10, 0.2), b=Training(1280, 10)) == [
        "they were not trained alike, labelled examples in updates: a 640 in 10, b 1280 in 10"
    ]
    assert why(a=Training(640, 10, 0.2), b=Training(640, 20)) != []
    unfit = replace(_claim(), calibrated=("time_dependent",))
    testbed = replace(digits, trained={"time_dependent": Training(640, 10, 1.0)})
    collection = replace(lab.collection, testbed=testbed)
    assert reproduce([unfit], collection, tuning_per_class=6, out=tmp_path / "out") == []
    assert "strong_hits: left out, time_dependent learned no score: its error is 1.000" in "".join(capsys.readouterr())


def test_a_record_stands_while_the_networks_that_it_used_do(lab: Lab, digits: Testbed, tmp_path: Path) -> None:
    calls = []
    base = _claim()

    def run(lab: Lab) -> Effect:
        calls.append(1)
        return base.run(lab)

    def again(testbed: Testbed) -> int:
        collection = replace(lab.collection, testbed=testbed)
        reproduce([replace(base, run=run)], collection, tuning_per_class=6, out=tmp_path / "out", resamples=20)
        return len(calls)

    assert again(digits) == 1
    other, used = digits.classifiers["robust_r0"], digits.classifiers["time_dependent"]
    assert again(replace(digits, classifiers={**digits.classifiers, "new": other}, identity="other")) == 1
    assert isinstance(used, torch.nn.Module)
    moved = copy.deepcopy(used)
    next(moved.parameters()).add_(1e-3)
    assert again(replace(digits, classifiers={**digits.classifiers, "time_dependent": moved})) == 2


class _Planted(Lab):
    """A laboratory where methods have the numbers that they are given, in the order in which they are measured."""

    def plant(self, numbers: Mapping[str, Sequence[float]]) -> None:
        self.__dict__["planted"] = {name: iter(values) for name, values in numbers.items()}

    def tuning(self, methods: Any, metric: str, **_: Any) -> dict[str, float]:
        return dict.fromkeys(methods, 1.0) | {list(methods)[len(methods) // 2]: 0.5}

    def measured(self, methods: Any, metrics: Any, **_: Any) -> dict[str, dict[str, Measurement]]:
        def number(name: str) -> Measurement:
            value = next(self.__dict__["planted"][name])
            return Measurement(value, torch.full((20,), value, dtype=torch.float64), Estimate(value, value, value))

        return {method: {name: number(name) for name in metrics} for method in methods}


AS_CLAIMED: Mapping[str, Mapping[str, Sequence[float]]] = {
    "class_energy": {"frechet": [1, 2]},
    "classifier_free_coverage": {"intra_coverage": [0.3, 0.9]},
    "divergence_term": {"energy_divergence": [1, 2]},
    "prog_frechet": {"frechet": [1, 2]},
    "prog_gamma_zero": {"frechet": [1, 2, 1]},
    "prog_recall": {"recall": [0.9, 0.8, 0.9, 0.5]},
    "prog_robustness": {"robustness": [0.9, 0.8], "frechet": [1, 1]},
    "robust_radius": {"accuracy": [0.1, 0.2, 0.3, 0.4]},
    "robust_time_frechet": {"frechet": [1, 2]},
    "robust_time_scale": {"frechet": [5, 4, 3, 2, 1, 2, 3, 2, 1, 2, 3, 4]},
    "sc_labels_5": {"intra_frechet": [1, 2]},
    "sc_labels_20": {"intra_frechet": [1, 2]},
    "sc_only": {"accuracy": [0.8, 0.2]},
    "scale_intra": {"intra_frechet": [9, 8, 7, 6, 5, 4, 3], "frechet": [2, 2, 2, 2, 2, 2, 2.1]},
    "strong_early": {"intra_kid": [1, 2]},
}
OTHERWISE: Mapping[str, Mapping[str, Sequence[float]]] = {
    "prog_gamma_zero": {"frechet": [2, 1, 1]},
    "prog_recall": {"recall": [0.9, 0.5, 0.9, 0.8]},
    "robust_time_scale": {"frechet": [3, 2, 1, 2, 3, 4, 5, 4, 3, 2, 1, 2]},
    "scale_intra": {"frechet": [9, 8, 7, 6, 5, 4, 3], "intra_frechet": [2, 2, 2, 2, 2, 2, 2.1]},
}
"""Numbers that contradict a claim, where they are not those in reverse."""


@pytest.mark.parametrize("name", AS_CLAIMED)
def test_a_claim_holds_on_numbers_as_claimed_and_does_not_on_others(name: str, lab: Lab) -> None:
    claim, numbers = load_claim(name), AS_CLAIMED[name]
    backwards = {metric: values[::-1] for metric, values in numbers.items()}
    for planted, verdict in ((numbers, "holds"), (OTHERWISE.get(name, backwards), "does not hold")):
        own = _Planted(lab.collection, lab.tuning_per_class, lab.resamples)
        own.plant(planted)
        assert claim.verdict(claim.run(own).estimate) == verdict


@pytest.mark.parametrize("name", names("claim"))
def test_a_shipped_claim_says_what_it_is(name: str, digits: Testbed) -> None:
    claim = load_claim(name)
    assert claim.name == name
    assert claim.says.endswith(".")
    assert claim.paper
    assert claim.place
    assert claim.effect
    assert set(claim.classifiers) <= set(digits.classifiers)
    assert set(claim.conditionals) <= set(digits.conditionals)


def test_a_user_s_own_claim_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from guidegym.claims.progressive import prog_cost as claim\n")
    assert load_claim(str(tmp_path / "mine.py")).name == "prog_cost"
    (tmp_path / "deaf.py").write_text("x = 1\n")
    with pytest.raises(GuideGymError, match="has no function `claim`"):
        load_claim(str(tmp_path / "deaf.py"))
    (tmp_path / "wrong.py").write_text("def claim():\n    return 1\n")
    with pytest.raises(GuideGymError, match=r"must return a guidegym\.claims\.claim\.Claim, got int"):
        load_claim(str(tmp_path / "wrong.py"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "name a claim, or give `--all`; shipped claims: class_energy, "),
        (["nothing"], "unknown claim 'nothing'"),
        (["prog_cost", "--per-class", "2"], "`--per-class` must be a whole number >= 6, got 2"),
        (["prog_cost", "--tuning", "0"], "`--tuning` must be a whole number >= 6, got 0"),
        (["prog_cost", "--quick", "--page", "."], "`--page` must be a file, got the folder ."),
        (["prog_cost", "--testbed", "moon"], "unknown testbed 'moon'"),
    ],
)
def test_wrong_input_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce_command([*flags, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_all_claims_are_tested_on_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce_command(["--quick", "--per-class", "6", "--tuning", "6", "--all", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    records = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    digits = load_testbed("digits")
    assert set(records) == {name for name in names("claim") if not load_claim(name).unfit(digits)}
    verdicts = {name: record["verdict"] for name, record in records.items()}
    assert set(verdicts.values()) <= {"holds", "does not hold", "undecided", "too few samples"}
    # What is far from undecided whatever the noise: counted costs, and a degree that never moves.
    assert verdicts["prog_cost"] == "holds"
    assert records["prog_gamma_zero"]["effect"]["low"] > 0
    assert records["sc_only"]["effect"]["low"] > 0
    assert verdicts["sc_only"] == "too few samples"
    assert all(f"[{name}](#{name})" in said for name in verdicts)
    assert all(
        f"{name}: left out, they were not trained alike" in said for name in names("claim") if name not in verdicts
    )
