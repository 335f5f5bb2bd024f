"""Every work that a docstring or a page names is in the list of references."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"[A-Z][A-Za-z\-]+ (?:et al\.|and [A-Z][a-z]+) \d{4}[a-z]?")


def test_every_work_that_is_named_is_listed() -> None:
    listed = (ROOT / "docs" / "references.md").read_text()
    files = [path for folder in ("guidegym", "agents", "studies") for path in (ROOT / folder).rglob("*.py")]
    files += [path for path in (ROOT / "docs").rglob("*.md") if path.name != "references.md"]
    named = {work for path in files for work in NAMED.findall(path.read_text())}
    assert len(named) > 20
    assert sorted(work for work in named if f"| {work} |" not in listed) == []
