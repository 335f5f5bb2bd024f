"""``python -m guidegym.sample``: the same as ``guidegym sample``."""

import sys
from functools import partial
from types import ModuleType
from typing import Any

from guidegym.cli.app import run_verb

main = partial(run_verb, "sample")


class _CallableModule(ModuleType):
    """The package has a function of this module's name: importing the module must not take it away."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        from guidegym.core.sampling import sample

        return sample(*arguments, **keywords)


if __name__ == "__main__":
    sys.exit(main())
sys.modules[__name__].__class__ = _CallableModule
