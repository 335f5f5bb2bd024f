"""``python -m guidegym``: the same as ``guidegym``."""

import sys

from guidegym.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
