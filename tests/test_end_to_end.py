"""The whole path as a user types it: raw parts, masks, faces with hands, training, weights, masks of photos."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import faceparse
from faceparse import images
from faceparse.commands import test, train
from faceparse.labels import CELEBAMASK, FACE
from tests.conftest import draw_face

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Eight drawn pictures as published: 128 px photos, 64 px parts, skin under the features; and three hands."""
    for number in range(8):
        rgb, ids = draw_face(number, 64)
        photo = cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_LINEAR)
        images.write_rgb(tmp_path / "CelebA-HQ-img" / f"{number}.jpg", photo)
        for class_id, name in enumerate(CELEBAMASK.classes[1:], 1):
            part = (FACE.table[ids] == 1) if name == "skin" else ids == class_id
            if part.any():
                rgb_part = np.repeat(part[..., None], 3, axis=2).astype(np.uint8) * 255
                images.write_rgb(tmp_path / "CelebAMask-HQ-mask-anno" / "0" / f"{number:05d}_{name}.png", rgb_part)
    for number in range(3):
        mask = np.zeros((30, 24), np.uint8)
        cv2.ellipse(mask, (12, 15), (8, 12), 0, 0, 360, 255, -1)
        images.write_rgb(tmp_path / "hands" / "images" / f"h{number}.png", np.full((30, 24, 3), 150 + number, np.uint8))
        images.write_mask(tmp_path / "hands" / "masks" / f"h{number}.png", mask)
    return tmp_path


def type_in(folder: Path, line: str, main: Callable[[list[str]], int] | None = None) -> None:
    """Run a command line of the README in `folder`; it must succeed. `main` does it here, where torch is imported."""
    words = line.split()
    if main:
        assert main(words[1:]) == 0
        return
    words = words if words[0] == "-m" else [str(ROOT / words[0]), *words[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_from_raw_parts_to_masks_of_photos(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw)
    type_in(raw, "preprocess_data.py --masks_parts CelebAMask-HQ-mask-anno --output_mask masks --workers 1")
    for number in range(8):
        truth = FACE.table[draw_face(number, 64)[1]] * 255
        assert np.array_equal(images.read_mask(raw / "masks" / f"{number}.png"), truth)
    folders = "--faces_dir CelebA-HQ-img --masks_dir masks --fahand_dir fahand --mahand_dir mahand"
    type_in(raw, f"-m hand_generator {folders} --hands_dir hands --repeats 1 --workers 1")
    assert len(list((raw / "fahand").glob("*.jpg"))) == len(list((raw / "mahand").glob("*.png"))) == 3 * 4
    small = (
        "--encoder test_resnet.r160_in1k --widths 64 32 --size 64 --epochs 2 --batch_size 4 --workers 1 --device cpu"
    )
    type_in(raw, f"train.py {folders} --weights_dir run {small} --half", train.main)
    scored = "--images_path CelebA-HQ-img --masks_path masks --save_path out --overlay"
    type_in(raw, f"test.py --weights_path run/best.safetensors {scored}", test.main)
    for number in range(8):
        mask = images.read_mask(raw / "out" / f"{number}.png")
        assert mask.shape == (128, 128) and set(np.unique(mask)) <= {0, 255}
    assert (raw / "out" / "scores.json").exists() and (raw / "out" / "7_overlay.jpg").exists()
    predictor = faceparse.load(raw / "run" / "best.safetensors", device="cpu")
    photo = images.read_rgb(raw / "CelebA-HQ-img" / "0.jpg")
    assert np.array_equal(predictor(photo), images.read_mask(raw / "out" / "0.png"))
