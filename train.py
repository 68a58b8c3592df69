"""Train a face parser: `python train.py --help`."""

import sys

from faceparse.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
