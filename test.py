"""Photos -> masks at their size, and scores where the truth is given; `python test.py --help` lists the flags."""

import sys

from faceparse.commands.test import main

if __name__ == "__main__":
    sys.exit(main())
