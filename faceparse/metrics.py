"""Scores from counts: pixels are counted over a whole set and divided once.

A score is NaN where there is nothing to divide by: of a class, where it occurs in neither truth nor prediction.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from torch import Tensor

from faceparse.labels import IGNORE

BOUNDARY_TOLERANCE = 2 / 512
"""How far apart two boundaries may be to count as one, as a share of the picture's longer side."""

RESAMPLES = 1000
"""Sets that a bootstrap draws."""

_AT_A_TIME = 100  # resamples: 24 MB for 30,000 pictures


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

    def sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels of each class that were rightly called so, that were called so, and that are so: int64 (classes,)."""
        return np.diag(self.counts), self.counts.sum(axis=0), self.counts.sum(axis=1)

    def iou(self) -> np.ndarray:
        """Intersection over union per class."""
        return iou(*self.sums())

    def dice(self) -> np.ndarray:
        """Dice coefficient (F1) per class."""
        return dice(*self.sums())

    def precision(self) -> np.ndarray:
        """Share of the pixels called a class that are of it; NaN where none was called so."""
        hit, predicted, _ = self.sums()
        return ratio(hit, predicted)

    def recall(self) -> np.ndarray:
        """Share of the pixels of a class that were called so; NaN where there is none."""
        hit, _, true = self.sums()
        return ratio(hit, true)

    def pixel_accuracy(self) -> float:
        """Share of all pixels that were called what they are."""
        return float(ratio(np.trace(self.counts), self.counts.sum()))


class Boundary:
    """Boundary pixels of each class, matched between prediction and truth, summed over everything added.

    A boundary pixel has a 4-neighbour of another class; the edge of the picture is no boundary. It is met when the
    other mask has a boundary pixel of its class within `BOUNDARY_TOLERANCE` of the longer side (at least 1 pixel),
    in a straight line.
    """

    def __init__(self, classes: int):
        self.counts = np.zeros((4, classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count uint8 (H, W) class ids; pixels whose truth is `IGNORE`, or that are as near to one, do not count."""
        tolerance = max(1.0, BOUNDARY_TOLERANCE * max(truth.shape))
        ignored = truth == IGNORE
        predicted, true = _edges(np.where(ignored, np.uint8(IGNORE), prediction)), _edges(truth)
        far = None
        if ignored.any():
            far = cv2.distanceTransform((~ignored).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > tolerance
        for row, (edges, others) in enumerate(((predicted, true), (true, predicted))):
            counted = edges if far is None else np.where(far, edges, np.uint8(IGNORE))
            ids, met = _met(counted, others, tolerance)
            for k, kind in enumerate((ids[met], ids)):
                self.counts[2 * row + k] += np.bincount(kind, minlength=self.counts.shape[1])

    def f1(self) -> np.ndarray:
        """Harmonic mean of the shares of predicted and of true boundary pixels that are met, float64 (classes,)."""
        return boundary_f1(*self.counts)


def iou(hit: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union, from pixels rightly called a class, called so, and being so."""
    return ratio(hit, predicted + true - hit)


def dice(hit: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Dice coefficient (F1), from pixels rightly called a class, called so, and being so."""
    return ratio(2 * hit, predicted + true)


def boundary_f1(predicted_met: np.ndarray, predicted: np.ndarray, true_met: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Harmonic mean of the shares of predicted and of true boundary pixels that are met."""
    # 2PR / (P + R) with P = a/p and R = b/t, without dividing by a p or t of 0: a boundary on one side alone gives 0
    f1 = ratio(2 * predicted_met * true_met, predicted_met * true + true_met * predicted)
    return np.where((predicted + true > 0) & np.isnan(f1), 0.0, f1)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of what is not NaN; NaN where there is nothing else."""
    return ratio(np.nansum(values, axis=axis), (~np.isnan(values)).sum(axis=axis))


def resampled(counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """A bootstrap over pictures: (pictures, ...) counts -> float64 (`RESAMPLES`, ...) sums.

    Each is summed over as many pictures, drawn with replacement.
    """
    pictures, rng = len(counts), np.random.default_rng(seed)
    flat, chances = counts.reshape(pictures, -1).astype(np.float64), np.full(pictures, 1 / pictures)
    sums = [rng.multinomial(pictures, chances, _AT_A_TIME) @ flat for _ in range(RESAMPLES // _AT_A_TIME)]
    return np.concatenate(sums).reshape(RESAMPLES, *counts.shape[1:])


def interval(values: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """The percentiles (2, ...), lower and upper, that hold this share of (resamples, ...) values; NaN is left out."""
    tail = 50 * (1 - confidence)
    columns = values.reshape(len(values), -1).T
    bounds = [
        np.percentile(known, (tail, 100 - tail)) if len(known := column[~np.isnan(column)]) else (np.nan, np.nan)
        for column in columns
    ]
    return np.transpose(bounds).reshape(2, *values.shape[1:])


def _edges(ids: np.ndarray) -> np.ndarray:
    """uint8 (H, W): the class of every boundary pixel, `IGNORE` for all others; against `IGNORE` there is none."""
    edge, known = np.zeros(ids.shape, bool), ids != IGNORE
    down = (ids[1:] != ids[:-1]) & known[1:] & known[:-1]
    across = (ids[:, 1:] != ids[:, :-1]) & known[:, 1:] & known[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return np.where(edge, ids, np.uint8(IGNORE))


def _met(edges: np.ndarray, others: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The class of every boundary pixel of `edges`, and whether `others` has one of that class near: (n,), (n,).

    Looks from every pixel outwards, so that one which is met soon, as most are, costs little.
    """
    reach = int(tolerance)
    flat, flat_others = (
        cv2.copyMakeBorder(ids, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=IGNORE).ravel()
        for ids in (edges, others)
    )
    places = np.flatnonzero(flat != IGNORE)
    ids, met, unmet = flat[places], np.zeros(len(places), bool), np.arange(len(places))
    for dy, dx in _disc(tolerance):
        hit = flat_others[places[unmet] + dy * (edges.shape[1] + 2 * reach) + dx] == ids[unmet]
        met[unmet[hit]] = True
        unmet = unmet[~hit]
    return ids, met


@cache
def _disc(radius: float) -> list[tuple[int, int]]:
    """All (dy, dx) of whole numbers within `radius`, the nearest first."""
    reach = range(-int(radius), int(radius) + 1)
    steps = [(dy, dx) for dy in reach for dx in reach if dy**2 + dx**2 <= radius**2]
    return sorted(steps, key=lambda step: step[0] ** 2 + step[1] ** 2)
