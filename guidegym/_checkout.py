"""Serve the top-level folders ``agents`` and ``studies`` as ``guidegym.agents`` and ``guidegym.studies``.

A wheel or an editable install already maps them there; in a bare checkout this finder does. It handles only these two names,
and only if there is a ``pyproject.toml`` beside the package.
"""

import sys
from collections.abc import Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SERVED = {"guidegym.agents": ROOT / "agents", "guidegym.studies": ROOT / "studies"}


class CheckoutFinder(MetaPathFinder):
    """A finder of the served packages in the folder of the checkout."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a served package, None for every other module."""
        folder = SERVED.get(fullname)
        if folder is None or not (folder / "__init__.py").is_file():
            return None
        return spec_from_file_location(fullname, folder / "__init__.py", submodule_search_locations=[str(folder)])


def serve_top_level_packages() -> None:
    """Install the finder once, if this is a checkout."""
    if (ROOT / "pyproject.toml").is_file() and not any(isinstance(f, CheckoutFinder) for f in sys.meta_path):
        sys.meta_path.append(CheckoutFinder())
