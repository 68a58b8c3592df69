"""Raw CelebAMask-HQ, or cut-outs -> one mask per picture; `python preprocess_data.py --help` lists the flags."""

import sys

from faceparse.commands.preprocess import main

if __name__ == "__main__":
    sys.exit(main())
