"""``python -m guidegym.similarity``: the same as ``guidegym similarity``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "similarity")

if __name__ == "__main__":
    sys.exit(main())
