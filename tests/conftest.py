"""Fixtures that several test files share: drawn faces, and the real data where it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceparse import images
from faceparse.labels import CELEBAMASK, FACE

needs_letters = pytest.mark.skipif(int(cv2.__version__[0]) < 5, reason="OpenCV 4's letters are not those in the docs")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

_COLOURS = {"skin": (220, 180, 150), "nose": (205, 160, 130), "hair": (70, 45, 30), "neck": (200, 165, 140)}

Drawn = tuple[np.ndarray, np.ndarray]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "real_data: needs the real pictures in ../shared/data; skipped where they are absent"
    )
    config.addinivalue_line("markers", "soak: takes minutes; left out unless asked for, by make soak")
    torch.set_num_threads(1)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not at {SHARED_DATA.parent.name}/{SHARED_DATA.name} beside this checkout")
    return SHARED_DATA


@pytest.fixture
def drawn_face() -> Callable[[int, int], Drawn]:
    """Draws a cartoon face: (seed, size) -> uint8 (size, size, 3) RGB and uint8 (size, size) CelebAMask-HQ ids."""
    return draw_face


def draw_face(seed: int, size: int) -> Drawn:
    """A cartoon face at a random place, in random colours, with the ids of its parts."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((size, size), np.uint8)
    x, y = (int(size * v) for v in rng.uniform(0.42, 0.58, 2))
    w, h = (int(size * v) for v in rng.uniform((0.18, 0.25), (0.26, 0.36)))

    def ellipse(part: str, dx: float, dy: float, rx: float, ry: float) -> None:
        axes = max(1, round(rx * w)), max(1, round(ry * h))
        cv2.ellipse(ids, (x + round(dx * w), y + round(dy * h)), axes, 0, 0, 360, CELEBAMASK.id(part), -1)

    ellipse("hair", 0, -0.2, 1.25, 1.2)
    ellipse("neck", 0, 1.1, 0.5, 0.5)
    ellipse("cloth", 0, 1.9, 1.8, 0.7)
    ellipse("skin", 0, 0, 1, 1)
    ellipse("nose", 0, 0.1, 0.12, 0.2)
    for side, sign in (("l", 1), ("r", -1)):  # the person's left is the picture's right
        ellipse(f"{side}_eye", 0.4 * sign, -0.2, 0.18, 0.1)
        ellipse(f"{side}_brow", 0.4 * sign, -0.42, 0.25, 0.06)
    ellipse("mouth", 0, 0.55, 0.3, 0.1)
    palette = np.array(CELEBAMASK.colours) * 0.3
    palette[0] = np.array((90, 120, 160)) + rng.integers(-60, 60, 3)
    for part, colour in _COLOURS.items():
        palette[CELEBAMASK.id(part)] = np.array(colour) + rng.integers(-15, 15, 3)
    noise = rng.normal(0, 6, (size, size, 3))
    return np.clip(palette[ids] + noise, 0, 255).astype(np.uint8), ids


def draw_faces(folder: Path, count: int = 12) -> None:
    """Faces of 64 px in faces/, their 0/255 masks in masks/, their 19-class masks in ids/."""
    for i in range(count):
        rgb, ids = draw_face(i, 64)
        images.write_rgb(folder / "faces" / f"{i}.jpg", rgb)
        images.write_mask(folder / "masks" / f"{i}.png", FACE.table[ids] * 255)
        images.write_mask(folder / "ids" / f"{i}.png", ids, CELEBAMASK)
