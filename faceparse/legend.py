"""The names of the colours in an overlay, beside it."""

from __future__ import annotations

import cv2
import numpy as np

from faceparse.labels import LabelSet

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_UNIT = 30  # pixels of a line in which the font has scale 0.8


def add_legend(view: np.ndarray, mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """`view`, uint8 (H, W, 3) RGB, with a column at its right: colour and name of every class in `mask`.

    `mask` is uint8 (h, w) ids of `labels`. The text grows with the picture; a low picture gets room below.
    """
    ids = [id_ for id_ in range(1, len(labels)) if (mask == id_).any()]  # a bincount takes 8 bytes a pixel
    if not ids:
        return view
    line = int(np.clip(view.shape[0] / 20, 12, 90))
    scale, thickness = 0.8 * line / _UNIT, max(1, line // 20)
    widest = max(cv2.getTextSize(labels.classes[id_], _FONT, scale, thickness)[0][0] for id_ in ids)
    height = max(view.shape[0], line * (len(ids) + 1))
    column = np.full((height, widest + 3 * line, 3), 255, np.uint8)
    for row, id_ in enumerate(ids):
        top, colour = line // 2 + row * line, tuple(labels.colours[id_])
        cv2.rectangle(column, (line // 2, top + line // 8), (line * 3 // 2, top + line * 7 // 8), colour, cv2.FILLED)
        place = (2 * line, top + line * 3 // 4)
        cv2.putText(column, labels.classes[id_], place, _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
    below = np.full((height - view.shape[0], view.shape[1], 3), 255, np.uint8)
    return np.hstack([np.vstack([view, below]), column])
