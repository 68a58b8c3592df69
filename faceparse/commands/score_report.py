"""What `test.py` tells of its scores: a table on the screen; JSON, CSV and PNG in the folder of the masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np

from faceparse import images
from faceparse.commands.places import Place, files_of, path_key
from faceparse.commands.score_pictures import Shown, draw_confusion, draw_worst
from faceparse.labels import LabelSet

MEASURES = {
    "iou": "IoU",
    "dice": "Dice",
    "picture_dice": "per picture",
    "boundary_f1": "boundary F1",
    "precision": "precision",
    "recall": "recall",
}
"""Measures of a class -> their heads in the table. All are pooled over the set but `picture_dice`, which is the mean
Dice of the pictures that have the class in truth or prediction."""

WITH_INTERVAL = ("iou", "dice")
"""Measures whose interval the table has room for; the files have all."""

MEAN = "mean"
"""Row of the mean over the classes but the background."""


@dataclass(frozen=True)
class Report:
    """Scores of a set; NaN where undefined, and for the bounds of what fewer than two pictures have.

    `classes`: measure -> float64 (3, classes + 1): value, lower and upper bound of the 95 % interval; the mean over the
    foreground comes last. `summary`: figure -> float64 (3,). `confusion` is int64 (classes, classes), rows truth. The
    worst picture comes first.
    """

    labels: LabelSet
    scored: int
    missing: int
    classes: dict[str, np.ndarray]
    summary: dict[str, np.ndarray]
    confusion: np.ndarray
    worst: Sequence[Shown]

    def rows(self) -> dict[str, dict[str, float]]:
        """Class name -> measure, measure_low, measure_high -> score; the mean last, but for a two-class set."""
        names = self.labels.classes if self.labels.is_binary else (*self.labels.classes, MEAN)
        return {
            name: _flat({measure: scores[:, column] for measure, scores in self.classes.items()})
            for column, name in enumerate(names)
        }

    def table(self) -> str:
        """The scores as aligned text, and how many classes and pictures they are of."""
        rows, figures = self.rows(), _flat(self.summary)
        width = max(map(len, ("background", *rows)))
        lines = [f"{'class':<{width}}" + "".join(_cell(key, head, "95 % interval") for key, head in MEASURES.items())]
        for name, row in rows.items():
            cells = (_cell(measure, _decimal(row[measure]), _span(row, measure)) for measure in MEASURES)
            lines.append((f"{name:<{width}}" + "".join(cells)).rstrip())
        present = ~np.isnan(self.classes["iou"][0, :-1])
        miou, accuracy = (f"{_decimal(figures[key])} {_span(figures, key)}" for key in ("miou", "pixel_accuracy"))
        of_mean = "" if self.labels.is_binary else f"; {MEAN}: of {present[1:].sum()} foreground classes"
        lines.append(f"mIoU of {present.sum()} classes: {miou}; pixel accuracy: {accuracy}{of_mean}")
        without = f", without a true mask: {self.missing}" if self.missing else ""
        return "\n".join([*lines, f"pictures scored: {self.scored}{without}"])

    def plain(self) -> dict[str, object]:
        """All but the confusion, in plain types; None for a score that is undefined."""
        return {
            "labels": self.labels.name,
            "scored": self.scored,
            "without_truth": self.missing,
            "summary": _known(_flat(self.summary)),
            "classes": {name: _known(row) for name, row in self.rows().items()},
            "worst": [{"picture": os.fspath(one.picture), "dice": one.score} for one in self.worst],
        }

    def save(self, folder: Path, places: Iterable[Place], others: Iterable[Path] = ()) -> None:
        """Write `scores.json` and `scores.csv` into `folder`, and the rest into its sub-folder `scores`.

        The rest is `summary.csv`, `confusion.csv` (pixels, rows truth), `confusion.png` and `worst.png`. Undefined
        scores are null in JSON and empty in CSV. The sub-folder is called otherwise if a file of `places` or one of
        `others`, which are read as well, is in it.
        """
        rows = {name: _known(row) for name, row in self.rows().items()}
        summary, table = tables(folder)
        images.write_json(summary, self.plain())
        head = ["class", *rows[self.labels.classes[0]]]
        images.write_csv(table, [head, *([name, *row.values()] for name, row in rows.items())])
        more, classes = _sub_folder(folder, places, others), self.labels.classes
        figures = ([name, *_known(_flat({name: bounds})).values()] for name, bounds in self.summary.items())
        images.write_csv(more / "summary.csv", [["figure", "value", "low", "high"], *figures])
        counts = ([name, *row] for name, row in zip(classes, self.confusion.tolist(), strict=True))
        images.write_csv(more / "confusion.csv", [["truth", *classes], *counts])
        drawings = {"confusion.png": draw_confusion(self.confusion, classes), "worst.png": draw_worst(self.worst)}
        for name, drawing in drawings.items():
            images.write_mask(more / name, drawing)  # marked as ours, so that no later run takes it for a photo


def _flat(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """name -> (value, low, high) as name, name_low, name_high -> number."""
    return {
        name + part: float(number)
        for name, bounds in scores.items()
        for part, number in zip(("", "_low", "_high"), bounds, strict=True)
    }


def _known(row: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else value for key, value in row.items()}


def _cell(measure: str, value: str, interval: str) -> str:
    return f"{value:>8} {interval:<15}" if measure in WITH_INTERVAL else f"{value:>12}"


def _decimal(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _span(row: dict[str, float], name: str) -> str:
    bounds = row[f"{name}_low"], row[f"{name}_high"]
    return "-" if np.isnan(bounds).any() else "[" + ", ".join(f"{b:.3f}".removeprefix("0") for b in bounds) + "]"


def tables(folder: Path) -> tuple[Path, Path]:
    """Where the scores of masks in `folder` are written, as JSON and as CSV."""
    return folder / "scores.json", folder / "scores.csv"


def _sub_folder(folder: Path, places: Iterable[Place], others: Iterable[Path]) -> Path:
    """`scores`, or `scores2` ... where pictures, masks or `others` have a folder of that name, or it is a link."""
    files = chain(others, (path for place in places for path in files_of(place)))
    taken = {path_key(parent) for parent in {path.parent for path in files}}
    names = chain(["scores"], (f"scores{number}" for number in count(2)))
    paths = (folder / name for name in names)
    return next(path for path in paths if path_key(path) not in taken and not path.is_symlink())
