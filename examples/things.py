"""One sheet of what the `face` weights make of the photos beside this script with drawn things before the face.

    python examples/things.py docs/things.jpg

A row a photo, a column a kind of thing of benchmarks/objects.py, drawn by its seed, not chosen by hand. The README.md
beside this says where it fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import faceparse
from benchmarks import objects
from examples.gallery import fitted, overlaid, parse_args, titled
from faceparse import images

SEED = 1
"""Of all that is drawn."""


def main(argv: list[str] | None = None) -> int:
    """Find the parts of each face, draw a thing of each kind over it, ask the bundled weights, write the sheet."""
    args = parse_args(argv, __doc__)
    parts = faceparse.load(labels="celebamask", device="cpu")
    view = overlaid(faceparse.load(labels="face", device="cpu"))
    photos = [images.read_rgb(path) for path in images.list_images(Path(__file__).parent)]
    framed = [objects.frame_of(photo, parts(photo)) for photo in photos]
    frames = [frame for frame in framed if frame is not None]  # of the astronaut's whole photo the mouth is too small
    columns = []
    for kind in objects.KINDS:
        covered = [objects.cover(frame, kind, np.random.default_rng(SEED))[0] for frame in frames]
        columns.append(titled(kind, [fitted(view(picture)) for picture in covered]))
    images.write_rgb(args.out, np.hstack(columns), quality=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
