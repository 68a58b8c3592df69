"""Scores of predicted masks against true ones: counted over a whole set of pictures, divided once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceparse import images, metrics
from faceparse.commands.places import Place
from faceparse.commands.score_pictures import Shown, side_by_side
from faceparse.commands.score_report import MEASURES, Report
from faceparse.data.folder import highest_id, is_binary, to_ids, two_kinds
from faceparse.labels import FOREGROUND, JPEG_SUFFIXES, LabelSet
from faceparse.metrics import Boundary, Confusion, ratio

WORST = 8
"""Pictures that are shown beside their truth."""

_ROWS, _BOUNDARY, _SEEN = 9, slice(3, 7), 8  # of a picture's counts, see `Scores.counts`


@dataclass(frozen=True)
class Measured:
    """What one mask comes to: its confusion, its counts as in `Scores.counts`, its view; or the problem with it.

    `highest` is the highest class id of the true mask at `truth`, None where that is 0/255.
    """

    problem: str = ""
    missing: bool = False
    truth: Path = Path()
    highest: int | None = None
    pixels: np.ndarray | None = None
    counts: np.ndarray | None = None
    shown: Shown | None = None


class Scores:
    """Counts of each class of `labels` over all masks added, picture by picture."""

    def __init__(self, labels: LabelSet):
        self.labels = labels
        self.confusion = Confusion(len(labels))
        self.counts: list[np.ndarray] = []
        """Of each picture float64 (9, classes + 1): pixels hit, predicted, true; boundary pixels predicted and met,
        predicted, true and met, true; Dice (0 where undefined), and whether it is defined. The last column is for the
        mean over the foreground; it has a Dice alone."""
        self.worst: list[Shown] = []
        self.missing = 0
        self.kinds: dict[int | None, Path] = {}
        """`Measured.highest` -> the first true mask of it, JPEGs left out."""

    def add(self, measured: Measured) -> list[str]:
        """Count one mask; the problem, one sentence, that keeps it from being counted."""
        self.missing += measured.missing
        if measured.pixels is None or measured.counts is None:
            return [measured.problem]
        if measured.truth.suffix.lower() not in JPEG_SUFFIXES:
            self.kinds.setdefault(measured.highest, measured.truth)
        self.confusion.counts += measured.pixels
        self.counts.append(measured.counts)
        if measured.shown and self._is_among_worst(measured.shown.score):
            self.worst = sorted([*self.worst, measured.shown], key=lambda one: one.score)[:WORST]
        return []

    def measure(self, place: Place, picture: np.ndarray, mask: np.ndarray) -> Measured:
        """What one predicted mask, uint8 (H, W), comes to. It changes nothing here: threads may call it.

        `picture` is uint8 (H, W, 3) RGB.
        """
        if place.truth is None:
            return Measured(f"{place.picture}: no true mask with this stem in --masks_path", missing=True)
        try:
            truth, highest = self._read_truth(place, mask.shape)
        except ValueError as error:  # unreadable, of another size, or with ids out of range
            return Measured(str(error))
        ids = mask // FOREGROUND if self.labels.is_binary else mask
        if ids.shape != truth.shape:
            ids = cv2.resize(ids, truth.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        pixels, counts, score = self._count(ids, truth)
        shown = None
        if self._is_among_worst(score):  # of those added so far: later there are more
            shown = Shown(place.picture, score, side_by_side(picture, truth, ids, self.labels))
        return Measured(truth=place.truth, highest=highest, pixels=pixels, counts=counts, shown=shown)

    def join(self, later: Scores) -> None:
        """Add what was counted elsewhere, of pictures that come after these, as if they had been added here."""
        self.confusion.counts += later.confusion.counts
        self.counts += later.counts
        self.missing += later.missing
        self.kinds = later.kinds | self.kinds
        self.worst = sorted([*self.worst, *later.worst], key=lambda one: one.score)[:WORST]

    def doubts(self) -> list[str]:
        """What speaks against the true masks as a whole, a sentence each."""
        found, ids = [], {highest: path for highest, path in self.kinds.items() if highest}
        if ids and None in self.kinds:
            found.append(two_kinds(self.kinds[None], next(iter(ids.values()))))
        if list(ids) == [1] and self.labels.is_binary and not self.confusion.sums()[2][1]:
            wanted, one = self.labels.classes[1], (self.labels.source or self.labels).classes[1]
            mend = f"if these are masks of 0 and 1, write them as 0 and {FOREGROUND}"
            found.append(f"{ids[1]}: holds 1, which is {one}, and no true mask shows {wanted}; {mend}")
        return found

    def report(self) -> Report:
        """The scores of all masks added, with intervals from a bootstrap over the pictures."""
        counts = np.stack(self.counts or [np.zeros((_ROWS, len(self.labels) + 1))])
        whole, drawn = counts.sum(axis=0), metrics.resampled(counts)
        classes = _with_bounds(_class_scores(whole), _class_scores(drawn), whole[_SEEN])
        summary = {f"mean_{measure}": classes[measure][:, -1] for measure in ("dice", "iou", "boundary_f1")}
        summary["picture_dice"] = classes["picture_dice"][:, -1]
        summary |= _with_bounds(_set_scores(whole), _set_scores(drawn), np.array(len(self.counts)))
        return Report(self.labels, len(self.counts), self.missing, classes, summary, self.confusion.counts, self.worst)

    def _read_truth(self, place: Place, mask_hw: tuple[int, ...]) -> tuple[np.ndarray, int | None]:
        """uint8 (h, w) ids of the label set, and `Measured.highest`.

        The picture may be a whole number of times larger.
        """
        assert place.truth is not None
        values = images.read_mask(place.truth)
        images.check_sizes(place.picture, mask_hw, place.truth, values.shape)
        binary = is_binary(place.truth, values, self.labels)
        return to_ids(values, self.labels, binary), None if binary else highest_id(values)

    def _count(self, ids: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Confusion and counts of one picture; its mean Dice over the foreground classes that it or its truth has."""
        confusion, boundary = Confusion(len(self.labels)), Boundary(len(self.labels))
        confusion.add(ids, truth)
        boundary.add(ids, truth)
        dice = confusion.dice()
        dice = np.append(dice, metrics.mean(dice[1:]))
        pixels = np.pad(np.stack([*confusion.sums(), *boundary.counts]), ((0, 0), (0, 1)))
        return confusion.counts, np.vstack([pixels, np.nan_to_num(dice), ~np.isnan(dice)]), float(dice[-1])

    def _is_among_worst(self, score: float) -> bool:
        """Whether a picture is to be shown; one without any foreground has no score."""
        return not np.isnan(score) and (len(self.worst) < WORST or score < self.worst[-1].score)


def _class_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Counts (..., 9, classes + 1) -> measure -> (..., classes + 1), the mean over the foreground last."""
    hit, predicted, true, *_, dice_sum, seen = np.moveaxis(counts, -2, 0)
    each = {
        "iou": metrics.iou(hit, predicted, true),
        "dice": metrics.dice(hit, predicted, true),
        "boundary_f1": metrics.boundary_f1(*np.moveaxis(counts[..., _BOUNDARY, :], -2, 0)),
        "precision": ratio(hit, predicted),
        "recall": ratio(hit, true),
    }
    for values in each.values():
        values[..., -1] = metrics.mean(values[..., 1:-1])
    each["picture_dice"] = ratio(dice_sum, seen)  # of the last column, too: a mean over pictures of their means
    return {measure: each[measure] for measure in MEASURES}


def _with_bounds(whole: dict[str, np.ndarray], drawn: dict[str, np.ndarray], seen: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (...) of the set, and (resamples, ...) of drawn ones, as (3, ...): score, lower and upper bound.

    `seen` (...) is how many pictures a score is of; fewer than two give no bounds.
    """
    bounds = {name: np.where(seen > 1, metrics.interval(values), np.nan) for name, values in drawn.items()}
    return {name: np.stack([values, *bounds[name]]) for name, values in whole.items()}


def _set_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Counts (..., 9, classes + 1) -> mean IoU over all classes, and pixel accuracy: (...)."""
    hit, predicted, true, *_ = np.moveaxis(counts[..., :-1], -2, 0)
    return {
        "miou": metrics.mean(metrics.iou(hit, predicted, true)),
        "pixel_accuracy": ratio(hit.sum(axis=-1), true.sum(axis=-1)),
    }
