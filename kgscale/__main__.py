"""``python -m kgscale``."""

import sys

from kgscale.cli import main

if __name__ == "__main__":
    sys.exit(main())
