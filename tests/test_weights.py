"""The weights that come with the package: small, self-describing, and as good as their card says."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import faceparse
from faceparse import checkpoint, images
from faceparse.labels import FACE
from faceparse.metrics import Confusion

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights" / "face.safetensors"
CARD = (ROOT / "weights" / "README.md").read_text()


def test_the_file_is_under_10_mb_and_says_what_it_is() -> None:
    assert WEIGHTS.stat().st_size < 10_000_000
    loaded = checkpoint.load(WEIGHTS)
    assert loaded.labels == FACE
    assert (loaded.design.architecture, loaded.design.encoder) == ("fpn", "mobilenetv2_100")
    assert "non-commercial research" in loaded.about["licence"]
    assert "train.py" in loaded.about["command"] and "CelebAMask-HQ" in loaded.about["data"]


def test_the_card_is_about_this_very_file() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in CARD
    assert "non-commercial research" in CARD


def test_the_astronauts_face_is_found() -> None:
    photo = images.read_rgb(ROOT / "examples" / "astronaut.jpg")
    mask = faceparse.load(device="cpu")(photo)
    assert mask.shape == photo.shape[:2] and set(np.unique(mask)) == {0, 255}
    face = np.zeros(mask.shape, np.uint8)  # drawn by hand around the face of the photo
    cv2.ellipse(face, (131, 127), (48, 54), 0, 0, 360, 255, -1)
    confusion = Confusion(2)
    confusion.add(mask // 255, face // 255)
    assert confusion.iou()[1] > 0.75


def test_a_flipped_photo_gets_the_flipped_mask() -> None:
    photo = images.read_rgb(ROOT / "examples" / "astronaut.jpg")
    predictor = faceparse.load(device="cpu")
    flipped = predictor(np.ascontiguousarray(photo[:, ::-1]))[:, ::-1]
    confusion = Confusion(2)
    confusion.add(FACE.mirror_table[flipped // 255], predictor(photo) // 255)
    assert confusion.iou()[1] > 0.97


@pytest.mark.real_data
def test_held_out_faces_are_found_as_the_card_says(shared_data: Path, tmp_path: Path) -> None:
    with (shared_data / "celebamask" / "split.csv").open(newline="") as file:
        held_out = [Path(row[0]).stem for row in csv.reader(file) if row[1] == "False"]
    predictor, confusion = faceparse.load(device="cpu"), Confusion(2)
    with tarfile.open(shared_data / "celebamask" / "shard-0.tar") as tar:
        names = set(tar.getnames())
        for stem in [stem for stem in held_out if f"masks/{stem}.png" in names][:24]:
            for member in (f"images/{stem}.jpg", f"masks/{stem}.png"):
                tar.extract(member, tmp_path, filter="data")
            truth = FACE.table[images.read_mask(tmp_path / "masks" / f"{stem}.png")]
            confusion.add(predictor(tmp_path / "images" / f"{stem}.jpg") // 255, truth)
    assert confusion.iou()[1] > 0.92  # 24 of the 250 pictures; the card has the figure for all
