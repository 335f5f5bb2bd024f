"""The committed results: the page is that of the records, and the records are those of the shipped claims and networks."""

import json
from pathlib import Path

import pytest

from guidegym import load_testbed
from guidegym.claims.claim import load_claim
from guidegym.claims.record import same_networks
from guidegym.claims.results_page import results_page
from guidegym.registry import names

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*/*.json"))]
PICTURES = {testbed: f"results/{testbed}/" for testbed in ("fashion", "digits")}


def test_the_page_is_that_of_the_records() -> None:
    assert (DOCS / "results.md").read_text() == results_page(
        sorted(RECORDS, key=lambda record: str(record["claim"])), PICTURES
    )


def test_the_readme_counts_the_verdicts() -> None:
    number = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    verdicts = [record["verdict"] for record in RECORDS if record["testbed"] == "fashion"]
    holds, fails, open_ = (number[verdicts.count(one)] for one in ("holds", "does not hold", "undecided"))
    said = f"seventeen claims {holds} hold on `fashion`, {fails} do not, and {open_} are undecided"
    assert said in " ".join((DOCS.parent / "README.md").read_text().split())


def test_every_shipped_claim_was_tested_on_the_shipped_networks() -> None:
    assert [record["claim"] for record in RECORDS if record["testbed"] == "fashion"] == names("claim")
    assert all(same_networks(record["networks"], load_testbed(record["testbed"])) for record in RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["claim"])
def test_a_record_is_under_the_rule_of_its_claim(record: dict[str, str]) -> None:
    claim = load_claim(record["claim"])
    assert (record["rule"], record["effect_is"], record["says"]) == (claim.rule, claim.effect, claim.says)
    assert (DOCS / "results" / record["testbed"] / f"{claim.name}.png").is_file()
