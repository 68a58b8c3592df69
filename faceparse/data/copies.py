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

THUMBNAIL, GREY_LEVELS = 32, 6.0
"""Side of the small pictures whose root mean square difference, in grey levels, is that of copies at most: where much
of the picture is flat, fingerprints say little."""

_AT_A_TIME = 1000  # fingerprints that are compared with all others


def find_copies(*parts: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of a picture of one part and a copy of it in a later one; resized and coded anew is the same picture.

    Raises `UnreadableImage`.
    """
    paths = [path for part in parts for path in part]
    with ThreadPoolExecutor() as pool:
        seen = list(tqdm(pool.map(_seen, paths), "comparing", len(paths), unit="picture", leave=False))
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    prints = np.array([fingerprint for fingerprint, _ in seen])
    copies: list[tuple[Path, Path]] = []
    for start in range(0, len(paths), _AT_A_TIME):
        rows = slice(start, start + _AT_A_TIME)
        alike = prints[rows] @ prints.T  # places alike minus places that differ
        candidates = (alike >= SIDE * SIDE - 2 * NEAR) & (part_of[rows, None] < part_of)
        for i, j in np.argwhere(candidates):
            difference = seen[start + i][1].astype(np.float32) - seen[j][1]
            if np.sqrt(np.mean(difference**2)) <= GREY_LEVELS:
                copies.append((paths[start + i], paths[j]))
    return copies


def _seen(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A difference hash, float32 (SIDE * SIDE,) of 1 and -1, and uint8 (THUMBNAIL, THUMBNAIL) grey."""
    grey = cv2.cvtColor(images.read_rgb(path), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    fingerprint = np.where(small[:, 1:] > small[:, :-1], np.float32(1), np.float32(-1)).ravel()
    return fingerprint, cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
