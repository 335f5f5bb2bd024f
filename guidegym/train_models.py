"""``python -m guidegym.train_models``: the same as ``guidegym train-models``."""

import sys
from functools import partial

from guidegym.cli.app import run_verb

main = partial(run_verb, "train-models")

if __name__ == "__main__":
    sys.exit(main())
