"""A testbed and a collection of its samples."""

from pathlib import Path

import pytest

from guidegym import Testbed, load_testbed
from guidegym.evaluation.measuring.extractor import judge_extractor
from guidegym.evaluation.sample_sets.collect import Collection


@pytest.fixture(scope="session")
def digits() -> Testbed:
    return load_testbed("digits")


@pytest.fixture
def collection(digits: Testbed, tmp_path: Path) -> Collection:
    return Collection(digits, judge_extractor(digits), per_class=8, seed=3, energy="robust", folder=tmp_path / "chunks")
