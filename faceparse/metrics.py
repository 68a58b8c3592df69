"""Scores from counts: pixels are counted over a whole set and divided once."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from faceparse.labels import IGNORE


class Confusion:
    """Pixel counts int64 (classes, classes), rows truth, columns prediction, summed over everything added.

    Scores are float64 (classes,), NaN for a class that occurs in neither truth nor prediction.
    """

    def __init__(self, classes: int):
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, prediction: np.ndarray | Tensor, truth: np.ndarray | Tensor) -> None:
        """Count class ids of equal shape; pixels whose truth is `IGNORE` do not count."""
        predicted, true = np.asarray(prediction).ravel(), np.asarray(truth).ravel()
        classes = len(self.counts)
        counts = true != IGNORE
        pairs = true[counts].astype(np.int64) * classes + predicted[counts]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def iou(self) -> np.ndarray:
        """Intersection over union per class."""
        hit, predicted, true = self._sums()
        return _ratio(hit, predicted + true - hit)

    def dice(self) -> np.ndarray:
        """Dice coefficient (F1) per class."""
        hit, predicted, true = self._sums()
        return _ratio(2 * hit, predicted + true)

    def precision(self) -> np.ndarray:
        """Share of the pixels called a class that are of it; NaN where none was called so."""
        hit, predicted, _ = self._sums()
        return _ratio(hit, predicted)

    def recall(self) -> np.ndarray:
        """Share of the pixels of a class that were called so; NaN where there is none."""
        hit, _, true = self._sums()
        return _ratio(hit, true)

    def _sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.diag(self.counts), self.counts.sum(axis=0), self.counts.sum(axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
