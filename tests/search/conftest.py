from collections.abc import Iterator

import pytest
from short_search import draw_once


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Draw one picture in place of all: for tests of what a search finds and keeps, where drawing would be most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        draw_once(patch)
        yield
