"""Serve the top-level folders ``agents`` and ``studies`` as ``guidegym.agents`` and ``guidegym.studies``.

A wheel and an editable install map them there already; in a bare checkout this finder does. It answers for those two names
only, and only where a ``pyproject.toml`` stands beside the package.
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
    """Finds the served packages in the folder that holds the checkout."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a served package under its full name, None for every other module."""
        folder = SERVED.get(fullname)
        if folder is None or not (folder / "__init__.py").is_file():
            return None
        return spec_from_file_location(fullname, folder / "__init__.py", submodule_search_locations=[str(folder)])


def serve_top_level_packages() -> None:
    """Install the finder once, where this is a checkout."""
    if (ROOT / "pyproject.toml").is_file() and not any(isinstance(f, CheckoutFinder) for f in sys.meta_path):
        sys.meta_path.append(CheckoutFinder())
