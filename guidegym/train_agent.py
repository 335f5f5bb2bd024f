"""``python -m guidegym.train_agent``: the same as ``guidegym train-agent``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "train-agent")

if __name__ == "__main__":
    sys.exit(main())
