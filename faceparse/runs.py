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

from faceparse.curves import TABLE, Row, draw_curves
from faceparse.data.batches import ValidationFaces
from faceparse.data.folder import Pair
from faceparse.data.splits import write_split
from faceparse.images import overlay, write_csv, write_json, write_rgb
from faceparse.labels import FOREGROUND, IGNORE


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
        write_csv(self.folder / TABLE, [row.keys(), *(one.values() for one in self.rows)])
        write_rgb(self.folder / "curves.png", draw_curves({self.folder.name: self.rows}))
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


class UnwrittenRun(Run):
    """The same of a training that another rank records: nothing goes to files."""

    def __post_init__(self) -> None:
        """No TensorBoard."""

    def record_start(self, command: str, settings: dict[str, object], pictures: dict[str, int]) -> None:
        """Nothing."""

    def record_split(self, training: Sequence[Pair], validation: Sequence[Pair]) -> None:
        """Nothing."""

    def record_epoch(self, row: Row) -> None:
        """Add an epoch to the rows."""
        self.rows.append(row)

    @contextmanager
    def epoch_progress(self, epoch: int, epochs: int, steps: int, done: int) -> Iterator[Callable[[float], None]]:
        """A function that does nothing with a step's loss."""
        yield lambda loss: None


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
