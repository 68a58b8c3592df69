"""Scores to look at: the confusion of classes, and the worst pictures beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceparse.images import overlay
from faceparse.labels import FOREGROUND, IGNORE, LabelSet

_BOX_WH = (512, 256)  # a picture is shown as large as fits
_CELL, _LINE = 40, 24
_FULL = np.array((20, 70, 150))  # colour of a cell that has all of its row


@dataclass(frozen=True)
class Shown:
    """A picture's file, its score, and how it is shown: uint8 (h, w, 3) RGB."""

    picture: Path
    score: float
    view: np.ndarray


def side_by_side(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Picture, truth and prediction as overlays, 256 px high (less for wide ones): uint8 (h, 3 w, 3) RGB.

    `picture` is uint8 (H, W, 3) RGB, the masks are uint8 ids of `labels` at any size.
    """
    scale = min(side / of for side, of in zip(_BOX_WH, picture.shape[1::-1], strict=True))
    width, height = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    views = [small]
    for ids in (truth, prediction):
        shown = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
        shown[shown == IGNORE] = 0
        views.append(overlay(small, shown * np.uint8(FOREGROUND) if labels.is_binary else shown, labels))
    return np.hstack(views)


def draw_worst(pictures: Sequence[Shown]) -> np.ndarray:
    """The pictures below each other, file name and score under each: uint8 (H, W, 3) RGB."""
    title = "picture | truth | prediction, the worst first" if pictures else "no picture has a class but the background"
    strips = [_strip(title)]
    for shown in pictures:
        strips += [shown.view, _strip(f"{shown.picture.name}: Dice {shown.score:.4f}")]
    return _stacked(strips)


def draw_confusion(counts: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Confusion int64 (classes, classes), rows truth, as shares of each row: uint8 (H, W, 3) RGB."""
    margin = max(map(_width, classes)) + 16
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = (255 + shares[..., None] * (_FULL - 255)).round().astype(np.uint8)
    cells = colours.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    for row, column in np.argwhere(shares >= 0.005):
        share = shares[row, column]
        text = f"{share:.2f}".removeprefix("0")
        _write(cells, text, _CELL * column + 8, _CELL * row + 24, 255 if share > 0.5 else 60)
    cells[::_CELL] = cells[:, ::_CELL] = 225
    names = np.vstack([_strip(name, margin, _CELL) for name in classes])
    head = np.hstack([np.full((margin, margin, 3), 255, np.uint8), np.rot90(names)])  # upwards, above its column
    title = _strip("share of each true class (row) that was called so (column)")
    return _stacked([title, head, np.hstack([names, cells])])


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One below the other, white at the right of the narrower ones."""
    width = max(part.shape[1] for part in parts)
    return np.vstack([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in parts])


def _strip(text: str, width: int | None = None, height: int = _LINE) -> np.ndarray:
    strip = np.full((height, width or _width(text) + 16, 3), 255, np.uint8)
    _write(strip, text, 8, height // 2 + 5)
    return strip


def _write(picture: np.ndarray, text: str, x: int, y: int, grey: int = 60) -> None:
    cv2.putText(picture, _plain(text), (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (grey,) * 3, 1, cv2.LINE_AA)


def _width(text: str) -> int:
    return cv2.getTextSize(_plain(text), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]


def _plain(text: str) -> str:
    """OpenCV's letters are ASCII."""
    return text.encode("ascii", "replace").decode()
