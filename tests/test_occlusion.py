"""What covers a face is not face, and a face shrunk onto a background keeps its own mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceparse import occlusion
from faceparse.occlusion import cover_with_rectangle, cover_with_shape, cover_with_thing, shrink_onto


@pytest.fixture
def face() -> tuple[np.ndarray, np.ndarray]:
    """A white square of 40 px, id 1, in the middle of 100 black ones."""
    mask = np.zeros((100, 100), np.uint8)
    mask[30:70, 30:70] = 1
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), mask


def test_the_mask_is_cleared_under_a_shape_and_nowhere_else(face: tuple[np.ndarray, np.ndarray]) -> None:
    everywhere = np.ones((100, 100), np.uint8)
    for seed in range(40):
        covered, left = cover_with_shape(face[0], everywhere, face[1] > 0, np.random.default_rng(seed))
        shape = left == 0
        assert 0.01 < shape.mean() < 0.7
        away = cv2.dilate(shape.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0  # of its soft edge
        assert (covered == face[0])[away].all()
        assert (covered != face[0]).any(axis=2)[shape].mean() > 0.5  # a black one on black may be hard to see


def test_a_shape_and_its_place_are_the_same_for_the_same_seed(face: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = face
    first, again = (cover_with_shape(image, mask, mask > 0, np.random.default_rng(3)) for _ in "ab")
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert image.max() == 255 and mask.sum() == 1600  # what came in stays as it was


@pytest.mark.parametrize("background_hw", [(60, 300), (300, 60), (100, 100)])
def test_a_shrunk_face_keeps_its_share_of_pixels_and_lies_where_its_mask_says(
    face: tuple[np.ndarray, np.ndarray], background_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occlusion, "SHRINK", (0.5, 0.5))
    monkeypatch.setattr(occlusion, "ALONE_CHANCE", 0.0)
    monkeypatch.setattr(occlusion, "BODY_CHANCE", 0.0)
    image, mask = face
    background = np.full((*background_hw, 3), 60, np.uint8)
    for seed in range(10):
        scene, small = shrink_onto(background, image, mask, mask > 0, mask > 0, np.random.default_rng(seed))
        assert scene.shape == image.shape and small.shape == mask.shape
        assert small.sum() == 20 * 20  # half of 40 px a side
        assert scene[small > 0].mean() > 240 and not (scene[small == 0] > 250).all(axis=-1).any()


def test_a_background_alone_shows_no_face(face: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occlusion, "ALONE_CHANCE", 1.0)
    background = np.full((50, 50, 3), 60, np.uint8)
    scene, empty = shrink_onto(background, *face, face[1] > 0, face[1] > 0, np.random.default_rng(0))
    assert (scene == 60).all() and not empty.any()


def test_a_picture_without_a_face_can_be_covered_and_shrunk_too(face: tuple[np.ndarray, np.ndarray]) -> None:
    image, nothing = face[0], np.zeros((100, 100), np.uint8)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert not cover_with_shape(image, nothing, nothing > 0, rng)[1].any()
        assert not shrink_onto(image, image, nothing, nothing > 0, nothing == 0, rng)[1].any()


def test_a_rectangle_covers_a_part_of_the_face_and_no_more(face: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = face
    for seed in range(20):
        covered, left = cover_with_rectangle(image, mask, mask > 0, np.random.default_rng(seed))
        gone = mask - left
        _, _, width, height = cv2.boundingRect(gone)
        assert gone.sum() == width * height and 8 <= width <= 28 and 8 <= height <= 28  # .2 to .7 of 40 px
        assert (covered[2:20] == image[2:20]).all()  # far from the face
    nothing = np.zeros_like(mask)
    assert cover_with_rectangle(image, nothing, nothing > 0, np.random.default_rng(0))[0] is image


def test_a_thing_hides_a_part_of_the_face_and_its_mask_and_nothing_far_from_it(
    face: tuple[np.ndarray, np.ndarray],
) -> None:
    image, mask = face[0] // 2 + np.uint8(30), face[1]  # neither black nor white, to which bright and dark things clip
    kept, seen = [], []
    for seed in range(40):
        covered, left = cover_with_thing(image, mask, mask > 0, np.random.default_rng(seed))
        thing = (mask > 0) & (left == 0)
        kept.append(left.sum() / mask.sum())
        assert thing.any()  # its tip lies on the face
        away = cv2.dilate((covered != image).any(axis=2).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        assert (left == mask)[away].all()
        seen.append((covered == image).all(axis=2)[thing].mean())
    assert np.mean(seen) < 0.1  # but for chance, every pixel that it covers has another colour
    assert 0.4 < np.mean(kept) < 0.95 and min(kept) < 0.5
    nothing = np.zeros_like(mask)
    assert cover_with_thing(image, nothing, nothing > 0, np.random.default_rng(0))[0] is image


def test_things_begin_on_the_face_wherever_it_is_and_come_mostly_from_below() -> None:
    image, everywhere, face = (
        np.full((90, 160, 3), 90, np.uint8),
        np.ones((90, 160), np.uint8),
        np.zeros((90, 160), bool),
    )
    face[20:40, 110:130] = True
    lowered = []
    for seed in range(60):
        thing = cover_with_thing(image, everywhere, face, np.random.default_rng(seed))[1] == 0
        rows, columns = np.nonzero(thing)
        assert (thing & face).any() and columns.min() > 40  # two sides of the face, 20 px each, and a half
        lowered.append(rows.mean() > 30)
    assert np.mean(lowered) > 0.75


def test_sheets_round_things_and_balls_on_sticks_are_all_drawn_the_same_for_the_same_seed(
    face: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, mask = face
    hidden = []
    for flat, ball in ((1, 0), (0, 0), (0, 1)):
        monkeypatch.setattr(occlusion, "SHEET_CHANCE", flat)
        monkeypatch.setattr(occlusion, "BALL_CHANCE", ball)
        first, again = (cover_with_thing(image, mask, mask > 0, np.random.default_rng(3)) for _ in "ab")
        assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
        hidden.append(int(mask.sum() - first[1].sum()))
    assert len(set(hidden)) == 3 and min(hidden) > 0
    assert image.max() == 255 and mask.sum() == 1600  # what came in stays as it was
    one = np.ones((1, 1), np.uint8)
    assert cover_with_thing(image[:1, :1], one, one > 0, np.random.default_rng(0))[1].shape == (1, 1)


def test_a_background_that_is_a_long_strip_fills_the_picture_with_its_middle(
    face: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enlarged before it is cut, this one would have 3000 times the pixels of the picture."""
    monkeypatch.setattr(occlusion, "ALONE_CHANCE", 1.0)
    image, mask = face
    strip = np.zeros((1, 3001, 3), np.uint8)
    strip[:, 1500] = (10, 20, 30)
    scene, _ = shrink_onto(strip, image, mask, mask > 0, mask > 0, np.random.default_rng(0))
    assert scene.shape == image.shape and (scene == (10, 20, 30)).all()
