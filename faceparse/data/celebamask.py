"""CelebAMask-HQ as it is published, one file per part of a face -> one mask per picture."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from faceparse import images
from faceparse.labels import CELEBAMASK, FOREGROUND, PAINT_ORDER, LabelSet

ANNOTATIONS = "CelebAMask-HQ-mask-anno"
"""The folder of the published archive that holds the parts, as `<n // 2000>/<nnnnn>_<part>.png`."""

_PART_FILE = re.compile(r"(?P<number>[0-9]+)_(?P<part>[A-Za-z]\w*)\.png", re.IGNORECASE)


def find_parts(masks_parts: Path) -> dict[int, list[Path]]:
    """The part files of every picture, by its number, in ascending order; files of other names are passed over.

    `masks_parts` is the folder `ANNOTATIONS`, a folder that holds it, or any folder of part files. Every folder is
    listed once. Raises OSError for a folder that is missing, unreadable or without part files.
    """
    inner = masks_parts / ANNOTATIONS
    root = inner if inner.is_dir() else masks_parts
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the folder {ANNOTATIONS} of the published data")
    found: dict[int, list[Path]] = defaultdict(list)
    for folder, _, names in os.walk(root, onerror=_refuse, followlinks=True):
        for match in filter(None, map(_PART_FILE.fullmatch, names)):
            found[int(match["number"])].append(Path(folder, match.string))
    if not found:
        raise FileNotFoundError(f"{root}: no part file such as 0/00000_skin.png in this folder or below it")
    return {number: sorted(found[number]) for number in sorted(found)}


def _refuse(error: OSError) -> None:
    """For `os.walk`, which would pass over a folder that it may not list."""
    raise error


def paint(paths: Iterable[Path]) -> np.ndarray:
    """One picture's mask, uint8 (H, W) ids of `CELEBAMASK`, from its part files.

    A part is where its file is brighter than 0; parts are painted in `PAINT_ORDER`, later over earlier. Raises
    ValueError that names every part which is unknown, unreadable, double or of another size than most of the picture's.
    """
    parts, faults = _read_parts(paths)
    faults += _misfits(list(parts.values()))
    if faults:
        raise ValueError("; ".join(faults))
    mask = np.zeros_like(next(iter(parts.values()))[1])
    for name in PAINT_ORDER:
        if name in parts:
            mask[parts[name][1] > 0] = CELEBAMASK.id(name)
    return mask


def _read_parts(paths: Iterable[Path]) -> tuple[dict[str, tuple[Path, np.ndarray]], list[str]]:
    """Part name -> file and brightness, uint8 (H, W); and a sentence for every file that can't be used."""
    parts: dict[str, tuple[Path, np.ndarray]] = {}
    faults = []
    for path in paths:
        name = part_name(path)
        if name not in PAINT_ORDER:
            faults.append(f"{path}: there is no part {name!r}; choose from: {', '.join(PAINT_ORDER)}")
        elif name in parts:
            faults.append(f"{path}: the same part is in {parts[name][0]} already; keep one of them")
        else:
            try:
                parts[name] = path, images.read_grey(path)
            except images.UnreadableImage as error:
                faults.append(str(error))
    return parts, faults


def _misfits(parts: list[tuple[Path, np.ndarray]]) -> list[str]:
    """A sentence for every part that has another size than most of them (of a tie: than the first)."""
    usual = Counter(part.shape for _, part in parts).most_common(1)
    return [
        f"{path}: this part is {_size(part.shape)} but the picture's other parts are {_size(shape)}"
        for shape, _ in usual
        for path, part in parts
        if part.shape != shape
    ]


def _size(shape_hw: tuple[int, ...]) -> str:
    return f"{shape_hw[1]}x{shape_hw[0]}"


def part_name(path: Path) -> str:
    """`l_brow` of `.../00012_l_brow.png`."""
    return path.stem.partition("_")[2]


def relabel(ids: np.ndarray, labels: LabelSet) -> np.ndarray:
    """From `CELEBAMASK` ids, uint8 (H, W), what a mask of `labels` holds on disk: its own ids, or 0 and 255 for two."""
    return cv2.LUT(ids, labels.table * FOREGROUND if labels.is_binary else labels.table)


def write_mask(paths: Iterable[Path], mask_path: Path, labels: LabelSet, size: int | None = None) -> None:
    """Paint one picture's parts and write them as a mask of `labels`, a set made of `CELEBAMASK`. Raises as `paint`.

    `size` is the longer side in pixels that the mask is brought to, by nearest neighbour.
    """
    ids = paint(paths)
    if size is not None:
        ids = cv2.resize(ids, images.fitted(ids.shape, size)[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    images.write_mask(mask_path, relabel(ids, labels), None if labels.is_binary else labels)


def write_face(picture: Path, face_path: Path, size: int) -> None:
    """Write a picture with its longer side brought to `size` pixels. Raises `UnreadableImage`."""
    image = images.read_rgb(picture)
    images.write_rgb(face_path, images.resize(image, images.fitted(image.shape, size)))
