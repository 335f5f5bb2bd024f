from pathlib import Path

import pytest

from guidegym import GuideGymError
from guidegym.search.loading import load_study


def test_a_study_is_found_by_name_by_module_and_by_path() -> None:
    path = Path(__file__).parents[2] / "studies" / "sigmoid_schedule.py"
    for where in ("sigmoid_schedule", "guidegym.studies.sigmoid_schedule", str(path)):
        study = load_study(where)
        assert study.name == "sigmoid_schedule"
        assert study.testbed == "fashion"
    assert load_study("sigmoid_schedule", testbed="gaussians").testbed == "gaussians"


@pytest.mark.parametrize("where", ["nothing", "guidegym.studies.nothing", "no_such_package.study"])
def test_an_unknown_study_gets_the_list(where: str) -> None:
    with pytest.raises(GuideGymError, match=r"unknown study .*known: .*sigmoid_schedule"):
        load_study(where)


def test_an_error_inside_a_study_is_shown_and_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        load_study(str(tmp_path / "broken.py"))


def test_a_file_without_a_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(GuideGymError, match="has no function `study`"):
        load_study(str(tmp_path / "empty.py"))
    (tmp_path / "wrong.py").write_text("def study(testbed='fashion'):\n    return 3\n")
    with pytest.raises(GuideGymError, match=r"must return a guidegym\.search\.Study, got int"):
        load_study(str(tmp_path / "wrong.py"))
    with pytest.raises(GuideGymError, match="no Python file"):
        load_study(str(tmp_path / "missing.py"))
