"""``python -m guidegym.tune``: the same as ``guidegym tune``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "tune")

if __name__ == "__main__":
    sys.exit(main())
