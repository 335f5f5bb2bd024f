"""``python -m guidegym.evaluate``: the same as ``guidegym evaluate``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "evaluate")

if __name__ == "__main__":
    sys.exit(main())
