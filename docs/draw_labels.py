"""Draws docs/labels.png, the classes of CelebAMask-HQ in their colours: `python docs/draw_labels.py`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from faceparse import images
from faceparse.labels import CELEBAMASK, SAID
from faceparse.legend import add_legend

LINE, ROWS = 30, 6


def chart() -> np.ndarray:
    """uint8 (H, W, 3) RGB: id, name, colour and plain words of all classes but the background, three columns of six."""
    words = (f"{name}: {SAID[name]}" if SAID.get(name, name) != name else name for name in CELEBAMASK.classes)
    named = replace(CELEBAMASK, classes=tuple(f"{id_} {said}" for id_, said in enumerate(words)))
    paper = np.full((20 * LINE, 1, 3), 255, np.uint8)  # a legend's line is a 20th of the view beside it
    columns = [add_legend(paper, np.arange(first, first + ROWS), named) for first in range(1, len(named), ROWS)]
    return np.hstack(columns)[: (ROWS + 1) * LINE]


if __name__ == "__main__":
    images.write_rgb(Path(__file__).with_name("labels.png"), chart())
