"""A training's run folder: how it was started, how it went (CSV, PNG, TensorBoard), and its split."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from faceparse.data.batches import ValidationFaces
from faceparse.data.folder import Pair
from faceparse.data.splits import write_split
from faceparse.images import overlay, write_csv, write_json, write_rgb
from faceparse.labels import FOREGROUND, IGNORE

Row = dict[str, float]

_PANELS = {"loss": ("train_loss", "val_loss"), "score": ("val_iou", "val_dice"), "learning rate": ("lr",)}
_COLOURS = ((200, 80, 40), (40, 110, 200))


@dataclass
class Run:
    """What happened so far, epoch by epoch, mirrored to files in `folder`."""

    folder: Path
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = SummaryWriter(os.fspath(self.folder))

    def record_start(self, command: str, settings: dict[str, object], pictures: dict[str, int]) -> None:
        """Append command, settings, versions and git state to run.json; a resumed run adds a second entry."""
        path = self.folder / "run.json"
        starts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        start = {"command": command, "settings": settings, "pictures": pictures}
        starts.append(start | {"versions": versions(), "git": git_state()})
        write_json(path, starts)

    def record_split(self, training: Sequence[Pair], validation: Sequence[Pair]) -> None:
        """Write split.csv, which `--split` reads back."""
        rows = [(pair.image.name, "train") for pair in training] + [(pair.image.name, "val") for pair in validation]
        write_split(self.folder / "split.csv", rows)

    def record_epoch(self, row: Row) -> None:
        """Add an epoch to curves.csv, curves.png and TensorBoard."""
        self.rows.append(row)
        for name, value in row.items():
            self.board.add_scalar(name, value, int(row["epoch"]))
        write_csv(self.folder / "curves.csv", [row.keys(), *(one.values() for one in self.rows)])
        write_rgb(self.folder / "curves.png", draw_curves(self.rows))
        self.board.flush()

    @contextmanager
    def epoch_progress(self, epoch: int, epochs: int, steps: int, done: int) -> Iterator[Callable[[float], None]]:
        """A function that takes each step's loss to a progress bar and to TensorBoard; `epoch` counts from 0."""
        with tqdm(total=steps, initial=done, desc=f"epoch {epoch + 1}/{epochs}", unit="step", leave=False) as bar:

            def on_step(loss: float) -> None:
                self.board.add_scalar("step_loss", loss, epoch * steps + bar.n)
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()

            yield on_step

    def record_pictures(self, picture: np.ndarray, epoch: int) -> None:
        """Add validation pictures, uint8 (H, W, 3) RGB, as pictures/EPOCH.jpg and to TensorBoard."""
        write_rgb(self.folder / "pictures" / f"{epoch:03}.jpg", picture)
        self.board.add_image("validation", picture, epoch, dataformats="HWC")


@torch.inference_mode()
def draw_masks(model: nn.Module, faces: ValidationFaces, device: torch.device) -> np.ndarray:
    """The first four validation pictures with the model's masks above and the true ones below, uint8 (H, W, 3) RGB."""
    labels = faces.labels
    image, target = (torch.stack(items) for items in zip(*(faces[i] for i in range(min(4, len(faces)))), strict=True))
    predicted = model(image.to(device)).argmax(dim=1).cpu()
    masks = torch.stack([predicted, target.masked_fill(target == IGNORE, 0)])  # (2, B, h, w)
    stored = (masks * (FOREGROUND if labels.is_binary else 1)).byte().numpy()
    pictures = [faces.preprocess.undo(pixels) for pixels in image]
    return np.vstack(
        [np.hstack([overlay(x, mask, labels) for x, mask in zip(pictures, row, strict=True)]) for row in stored]
    )


def draw_curves(rows: Sequence[Row], width: int = 480, height: int = 320) -> np.ndarray:
    """Losses, scores and learning rate over the epochs side by side: uint8 (height, 3 width, 3) RGB."""
    return np.hstack([_panel(title, names, rows, width, height) for title, names in _PANELS.items()])


def _panel(title: str, names: Sequence[str], rows: Sequence[Row], width: int, height: int) -> np.ndarray:
    picture = np.full((height, width, 3), 255, np.uint8)
    left, top, right, bottom = 64, 34, width - 16, height - 30
    values = [row[name] for row in rows for name in names if np.isfinite(row[name])] or [0.0]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def write(text: str, x: int, y: int, colour: tuple[int, int, int] = (60, 60, 60)) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)

    cv2.rectangle(picture, (left, top), (right, bottom), (200, 200, 200), 1)
    write(title, left, 22)
    write(f"{high:.4g}", 4, top + 10)
    write(f"{low:.4g}", 4, bottom)
    write(f"epoch {rows[0]['epoch']:.0f} to {rows[-1]['epoch']:.0f}", left, height - 10)
    for i, (name, colour) in enumerate(zip(names, _COLOURS, strict=False)):
        write(name, right - 90 * (len(names) - i), 22, colour)
        points = [
            (left + (right - left) * k / max(1, len(rows) - 1), bottom - (bottom - top) * (row[name] - low) / span)
            for k, row in enumerate(rows)
            if np.isfinite(row[name])
        ]
        cv2.polylines(
            picture,
            [np.array(points, np.float64).round().astype(np.int32).reshape(-1, 1, 2)],
            False,
            colour,
            2,
            cv2.LINE_AA,
        )
    return picture


def origin(command: str, data_note: str, licence: str) -> dict[str, str]:
    """What a weights file says of where it comes from: how it was made, of what, on which terms."""
    return {
        "command": command,
        "data": data_note,
        "licence": licence,
        "versions": json.dumps(versions()),
        "git": git_state(),
    }


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def git_state() -> str:
    """Commit of the code that runs, with "-dirty" when it was changed since; "unknown" outside a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():  # installed, maybe inside of another project's checkout
        return "unknown"
    try:
        question = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        answer = subprocess.run(question, cwd=checkout, capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return "unknown"
    return answer.stdout.strip() or "unknown"
