"""Scores of predicted masks against true ones: counted over a whole set of pictures, divided once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from faceparse import images
from faceparse.commands.places import Place
from faceparse.data.folder import is_binary, to_ids
from faceparse.labels import FOREGROUND, LabelSet
from faceparse.metrics import Confusion

MEASURES = ("iou", "dice", "precision", "recall")


class Scores:
    """IoU, Dice, precision and recall of each class of `labels`, pooled over all masks added."""

    def __init__(self, labels: LabelSet):
        self.labels = labels
        self.confusion = Confusion(len(labels))
        self.scored = 0
        self.missing = 0

    def add(self, place: Place, mask: np.ndarray) -> list[str]:
        """Count one predicted mask, uint8 (H, W); the problems, one sentence each, that kept it from being counted."""
        if place.truth is None:
            self.missing += 1
            return [f"{place.picture}: no true mask with this stem in --masks_path"]
        try:
            truth = self._read_truth(place, mask.shape)
        except (
            ValueError
        ) as error:  # unreadable, of another size, or with ids out of range; the sentence names the file
            return [str(error)]
        ids = mask // FOREGROUND if self.labels.is_binary else mask
        if ids.shape != truth.shape:
            ids = cv2.resize(ids, truth.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        self.confusion.add(ids, truth)
        self.scored += 1
        return []

    def _read_truth(self, place: Place, mask_hw: tuple[int, ...]) -> np.ndarray:
        """uint8 (h, w) ids of the label set; the picture may be a whole number of times larger."""
        assert place.truth is not None
        values = images.read_mask(place.truth)
        images.check_sizes(place.picture, mask_hw, place.truth, values.shape)
        return to_ids(values, self.labels, is_binary(place.truth, values, self.labels))

    def rows(self) -> dict[str, dict[str, float]]:
        """Class name -> measure -> score, NaN where undefined; `mean` is over the classes but the background."""
        columns = np.stack([getattr(self.confusion, measure)() for measure in MEASURES], axis=1)  # (classes, measures)
        named = dict(zip(self.labels.classes, columns.tolist(), strict=True))
        if not self.labels.is_binary:
            named["mean"] = [float(np.mean(c[~np.isnan(c)])) if (~np.isnan(c)).any() else np.nan for c in columns[1:].T]
        return {name: dict(zip(MEASURES, row, strict=True)) for name, row in named.items()}

    def table(self) -> str:
        """The scores as aligned text, and how many pictures they are of."""
        lines = [f"{'class':<12}" + "".join(f"{measure:>11}" for measure in MEASURES)]
        lines += [f"{name:<12}" + "".join(f"{v:>11.4f}" for v in row.values()) for name, row in self.rows().items()]
        without = f", without a true mask: {self.missing}" if self.missing else ""
        return "\n".join([*lines, f"pictures scored: {self.scored}{without}"])

    def save(self, folder: Path) -> None:
        """Write `scores.json` (undefined scores are null) and `scores.csv` (they are empty) into `folder`."""
        rows = {name: {k: None if np.isnan(v) else v for k, v in row.items()} for name, row in self.rows().items()}
        whole = {"labels": self.labels.name, "scored": self.scored, "without_truth": self.missing, "classes": rows}
        with images.written_whole(folder / "scores.json") as beside:
            beside.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8", errors="surrogateescape")
        with (
            images.written_whole(folder / "scores.csv") as beside,
            beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["class", *MEASURES])
            writer.writerows([name, *row.values()] for name, row in rows.items())
