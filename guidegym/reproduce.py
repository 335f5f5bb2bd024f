"""``python -m guidegym.reproduce``: the same as ``guidegym reproduce``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "reproduce")

if __name__ == "__main__":
    sys.exit(main())
