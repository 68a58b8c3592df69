"""The curves of trainings, drawn and read back."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

Row = dict[str, float]
"""What an epoch came to: name -> number; "epoch" counts from 1."""

PANELS = {"loss": ("train_loss", "val_loss"), "score": ("val_iou", "val_dice"), "learning rate": ("lr",)}
"""Title of a panel -> what is drawn in it."""

TABLE = "curves.csv"
"""Where a run folder keeps its rows."""

_COLOURS = ((200, 80, 40), (40, 110, 200), (0, 140, 90), (200, 60, 150), (150, 110, 0), (90, 90, 90))
_GREY, _FRAME = (60, 60, 60), (200, 200, 200)
_LINE = 22  # pixels of a line of text


def read_curves(run: Path) -> list[Row]:
    """The rows of a run folder. Raises FileNotFoundError and ValueError, each naming the file and what is wrong."""
    path = run / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"{run}: there is no {TABLE} in it; name the run folder of a training")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (ValueError, TypeError, AttributeError) as error:  # no number; too few cells; too many
        raise ValueError(f"{path}: not a table of numbers, a row for each epoch") from error
    wanted = {"epoch", *(name for names in PANELS.values() for name in names)}
    if not rows or not wanted <= rows[0].keys():
        raise ValueError(f"{path}: no row in it with all of {', '.join(sorted(wanted))}")
    return rows


def draw_curves(runs: Mapping[str, Sequence[Row]], width: int = 480, height: int = 320) -> np.ndarray:
    """Losses, scores and learning rate over the epochs side by side: uint8 (height, 3 width, 3) RGB.

    `runs` are one or several trainings by name, each of at least one row. Of one, what is in a panel differs in colour;
    of several, the runs do, their names stand below, a line each, and the second curve of a panel is the darker one.
    """
    panels = np.hstack([_panel(title, names, list(runs.values()), width, height) for title, names in PANELS.items()])
    if len(runs) == 1:
        return panels
    below = np.full((_LINE * len(runs) + _LINE // 2, panels.shape[1], 3), 255, np.uint8)
    for line, name in enumerate(runs):
        y = _LINE * line + _LINE // 2
        cv2.line(below, (64, y), (94, y), _of_run(line), 3)
        _write(below, name, 104, y + 5)
    return np.vstack([panels, below])


def _panel(title: str, names: Sequence[str], runs: Sequence[Sequence[Row]], width: int, height: int) -> np.ndarray:
    picture = np.full((height, width, 3), 255, np.uint8)
    left, top, right, bottom = 64, 34, width - 16, height - 30
    rows = [row for run in runs for row in run]
    values = [row[name] for row in rows for name in names if np.isfinite(row[name])] or [0.0]
    low, high = min(values), max(values)
    first, last = (extreme(row["epoch"] for row in rows) for extreme in (min, max))
    cv2.rectangle(picture, (left, top), (right, bottom), _FRAME, 1)
    _write(picture, title, left, 22)
    _write(picture, f"{high:.4g}", 4, top + 10)
    _write(picture, f"{low:.4g}", 4, bottom)
    _write(picture, f"epoch {first:.0f} to {last:.0f}", left, height - 10)
    for i, name in enumerate(names):
        _write(picture, name, right - 90 * (len(names) - i), 22, _COLOURS[i] if len(runs) == 1 else _GREY)
        for number, run in enumerate(runs):
            shares = [
                ((row["epoch"] - first) / (last - first or 1.0), (row[name] - low) / (high - low or 1.0))
                for row in run
                if np.isfinite(row[name])
            ]
            points = [(left + (right - left) * x, bottom - (bottom - top) * y) for x, y in shares]
            line = np.array(points, np.float64).round().astype(np.int32).reshape(-1, 1, 2)
            colour = _COLOURS[i] if len(runs) == 1 else _of_run(number, pale=name != names[-1])
            cv2.polylines(picture, [line], False, colour, 2, cv2.LINE_AA)
            if len(line) == 1:
                cv2.circle(picture, line[0, 0].tolist(), 3, colour, cv2.FILLED)
    return picture


def _of_run(number: int, pale: bool = False) -> tuple[int, ...]:
    colour = _COLOURS[number % len(_COLOURS)]
    return tuple((channel + 2 * 255) // 3 for channel in colour) if pale else colour


def _write(picture: np.ndarray, text: str, x: int, y: int, colour: Sequence[int] = _GREY) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
