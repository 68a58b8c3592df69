"""`python -m faceparse` is the `faceparse` command."""

import sys

from faceparse.cli import main

if __name__ == "__main__":
    sys.exit(main())
