"""Pictures that show the same, whatever their names, sizes and coding: a test on training pictures is none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from faceparse import images

SIDE = 16
"""A fingerprint says of SIDE x SIDE places whether the picture gets brighter to the right there."""

NEAR = 16
"""Places of these that differ in copies, at most: poor JPEGs of one photo differ in 10, two portraits in 50."""

_AT_A_TIME = 1000  # fingerprints that are compared with all others


def find_copies(first: Sequence[Path], second: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of a picture of `first` and a copy of it in `second`; resized and coded anew is the same picture.

    Raises `UnreadableImage`.
    """
    paths = [*first, *second]
    with ThreadPoolExecutor() as pool:
        prints = list(tqdm(pool.map(_fingerprint, paths), "comparing", len(paths), unit="picture", leave=False))
    ours, theirs = np.array(prints[: len(first)]), np.array(prints[len(first) :])
    copies: list[tuple[Path, Path]] = []
    for start in range(0, len(first) if second else 0, _AT_A_TIME):
        alike = ours[start : start + _AT_A_TIME] @ theirs.T  # places alike minus places that differ
        copies += [(first[start + i], second[j]) for i, j in np.argwhere(alike >= SIDE * SIDE - 2 * NEAR)]
    return copies


def _fingerprint(path: Path) -> np.ndarray:
    """float32 (SIDE * SIDE,) of 1 and -1: a difference hash."""
    grey = cv2.cvtColor(images.read_rgb(path), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.where(small[:, 1:] > small[:, :-1], np.float32(1), np.float32(-1)).ravel()
