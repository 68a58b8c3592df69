"""One sheet of what the bundled weights make of the photos beside this script.

    python examples/gallery.py docs/gallery.jpg

A row a photo, a column what `--labels` and `--background` ask for. Nothing is chosen or mended by hand; the README.md
beside this says where it fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import faceparse
from faceparse import images
from faceparse.cutout import Background
from faceparse.legend import add_legend
from faceparse.predictor import Predictor

HEIGHT, TITLE, GAP = 256, 22, 6
"""Pixels of a picture in the sheet, of the line above, and between two."""

Column = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) RGB, a photo -> uint8 (h, w, 3) RGB, what is shown of it."""


def overlaid(predictor: Predictor) -> Column:
    """The mask over the photo; the classes' names beside it where there are several."""

    def view(photo: np.ndarray) -> np.ndarray:
        mask, labels = predictor(photo), predictor.labels
        shown = fitted(images.overlay(photo, mask, labels))
        return shown if labels.is_binary else add_legend(shown, mask, labels)

    return view


def before(predictor: Predictor, background: Background) -> Column:
    """The subject before a background."""
    return lambda photo: background.behind(photo, predictor.alpha(photo, predictor.seen([photo])[0]))


def fitted(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB -> uint8 (`HEIGHT`, w, 3)."""
    return images.resize(picture, (HEIGHT, round(picture.shape[1] * HEIGHT / picture.shape[0])))


def titled(title: str, cells: list[np.ndarray]) -> np.ndarray:
    """A column: its name, and its pictures, uint8 (`HEIGHT`, w, 3) each, one below the other on white."""
    width = max(cell.shape[1] for cell in cells) + GAP
    column = np.full((TITLE + len(cells) * (HEIGHT + GAP), width, 3), 255, np.uint8)
    cv2.putText(column, title, (0, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for row, cell in enumerate(cells):
        top = TITLE + row * (HEIGHT + GAP)
        column[top : top + HEIGHT, : cell.shape[1]] = cell
    return column


def parse_args(argv: list[str] | None, about: str | None) -> argparse.Namespace:
    """The command line of a script that writes a sheet, as a namespace; `about` is what `--help` tells of it."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE", type=Path, help="JPEG or PNG to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Ask the bundled weights, write the sheet."""
    args = parse_args(argv, __doc__)
    person = faceparse.load(labels="person", device="cpu")
    columns: dict[str, Column] = {
        "photo": lambda photo: photo,
        "face": overlaid(faceparse.load(labels="face", device="cpu")),
        "celebamask": overlaid(faceparse.load(labels="celebamask", device="cpu")),
        "person, #2e8b57": before(person, Background("#2e8b57")),
        "person, blur": before(person, Background("blur")),
    }
    photos = [images.read_rgb(path) for path in images.list_images(Path(__file__).parent)]
    made = [titled(title, [fitted(view(photo)) for photo in photos]) for title, view in columns.items()]
    images.write_rgb(args.out, np.hstack(made), quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main())
