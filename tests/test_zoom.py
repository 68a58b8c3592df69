"""Looking again at small faces, around a network simple enough to know its answer: red is face, blue is hair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faceparse import zoom
from faceparse.commands import test as command
from faceparse.images import read_mask, write_rgb
from faceparse.labels import CELEBAMASK, FACE, HAIR, PERSON, LabelSet
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess
from faceparse.zoom import Box, Look, framed, joined

PLAIN = Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RED, BLUE = (255, 0, 0), (0, 0, 255)


class Colour(nn.Module):
    """Logits (B, K, H, W): a class is sure (+10) where the picture has its colour, the background where it is dark."""

    def __init__(self, classes: int, colours: dict[int, tuple[int, int, int]]):
        super().__init__()
        self.classes, self.colours = classes, colours
        self.batches: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.batches.append(len(image))
        logits = torch.full((len(image), self.classes, *image.shape[2:]), -10.0)
        logits[:, 0] = 0
        for class_id, colour in self.colours.items():
            away = (image - torch.tensor(colour).view(3, 1, 1) / 255).abs().amax(dim=1)
            logits[:, class_id] = 10 - 40 * away  # even at a quarter of full scale
        return logits


def network(labels: LabelSet = FACE) -> Colour:
    return Colour(len(labels), {1: RED} if len(labels) == 2 else {labels.id("skin"): RED, labels.id("hair"): BLUE})


def predictor(labels: LabelSet = FACE, zoom: str = "auto", answers: LabelSet | None = None) -> Predictor:
    return Predictor(network(labels), labels, PLAIN, "cpu", answers=answers, zoom=zoom)


def scene(*discs: tuple[int, int, int], size: tuple[int, int] = (768, 1024)) -> np.ndarray:
    """Black, with red discs: x, y of their middles and radius."""
    picture = np.zeros((*size, 3), np.uint8)
    for x, y, radius in discs:
        cv2.circle(picture, (x, y), radius, RED, -1)
    return picture


def iou(mask: np.ndarray, picture: np.ndarray, colour: tuple[int, int, int] = RED) -> float:
    called, truth = mask > 0, (picture == colour).all(axis=2)
    return np.count_nonzero(called & truth) / np.count_nonzero(called | truth)


def test_a_small_face_that_one_look_misses_is_found() -> None:
    picture = scene((700, 300, 9))  # 18 of 1024 px are 1 of 64, and 8 of the 448 of the fine picture
    assert not predictor(zoom="none")(picture).any()
    assert iou(predictor()(picture), picture) > 0.9


def test_a_face_that_one_look_sees_coarsely_gets_its_outline() -> None:
    picture = scene((500, 400, 60))
    assert iou(predictor(zoom="none")(picture), picture) < 0.9
    assert iou(predictor()(picture), picture) > 0.97


@pytest.mark.parametrize(
    "discs",
    [
        [(200, 200, 70), (800, 500, 9)],
        [(300, 300, 40), (390, 300, 40)],  # cheek by cheek, 10 px apart
        [(100, 100, 30), (500, 100, 30), (900, 100, 30), (300, 600, 10), (700, 600, 10)],
    ],
)
def test_every_one_of_several_faces_is_found(discs: list[tuple[int, int, int]]) -> None:
    picture = scene(*discs)
    mask = predictor()(picture)
    assert iou(mask, picture) > 0.95
    for x, y, radius in discs:
        near = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
        assert iou(mask[near], picture[near]) > 0.85


def test_without_a_face_the_mask_is_empty() -> None:
    asked = predictor()
    assert not asked(scene()).any()
    assert not asked(scene(size=(2000, 30))).any()


@pytest.mark.parametrize("middle", [(0, 0), (1023, 767), (512, 0), (0, 400)])
def test_a_face_at_the_border_reaches_the_border(middle: tuple[int, int]) -> None:
    picture = scene((*middle, 30))
    mask = predictor()(picture)
    assert iou(mask, picture) > 0.93
    assert mask[middle[1], middle[0]] == 255


@pytest.mark.parametrize("hw", [(1, 1), (1, 3000), (3000, 1), (20, 900), (33, 65)])
def test_every_shape_is_answered_at_its_own_size(hw: tuple[int, int]) -> None:
    assert np.array_equal(predictor()(np.full((*hw, 3), RED, np.uint8)), np.full(hw, 255))
    assert np.array_equal(predictor()(np.zeros((*hw, 3), np.uint8)), np.zeros(hw))


def test_a_face_that_fills_the_picture_is_looked_at_once() -> None:
    picture = scene((512, 512, 400), size=(1024, 1024))  # .78 of the side; its frame is the picture
    asked = network()
    mask = Predictor(asked, FACE, PLAIN, "cpu", zoom="auto")(picture)
    assert asked.batches == [1]
    assert np.array_equal(mask, predictor(zoom="none")(picture))


def test_what_is_no_face_from_near_is_taken_away() -> None:
    picture = scene((500, 400, 60))  # 1.4 % of the picture, and 28 % of a look at it
    alone, again = (Predictor(Shy(), FACE, PLAIN, "cpu", zoom=name)(picture) for name in ("none", "auto"))
    assert np.count_nonzero(alone) > 9000  # of 11310
    assert not again.any()


def test_hair_is_seen_again_where_the_face_is() -> None:
    picture = scene((700, 300, 9))
    picture[291:297, 690:711] = BLUE  # over the upper third of the disc
    assert not predictor(CELEBAMASK, "none", HAIR)(picture).any()
    assert iou(predictor(CELEBAMASK, "auto", HAIR)(picture), picture, BLUE) > 0.7
    ids = predictor(CELEBAMASK)(picture)
    assert set(np.unique(ids)) == {0, CELEBAMASK.id("skin"), CELEBAMASK.id("hair")}


def test_people_are_looked_at_once() -> None:
    asked = network()
    picture = scene((500, 400, 60))
    mask = Predictor(asked, PERSON, PLAIN, "cpu", zoom="auto")(picture)
    assert asked.batches == [1]
    assert np.array_equal(mask, predictor(PERSON, "none")(picture))


def test_a_crowd_takes_bounded_time_and_memory() -> None:
    asked = network()
    places = [(40 + 80 * column, 40 + 80 * row, 20) for row in range(12) for column in range(16)]
    picture = scene(*places, size=(960, 1280))
    seen = Predictor(asked, FACE, PLAIN, "cpu", zoom="auto").seen([picture])[0]
    assert max(asked.batches) <= zoom.AT_A_TIME
    assert isinstance(seen, zoom.Zoomed)
    assert len(seen.looks) == zoom.MOST_LOOKS
    for look in seen.looks:
        assert look.small.dtype == np.float16
        assert max(look.small.shape[1:]) <= min(PLAIN.size, look.box.side)


def test_a_photo_of_any_size_has_as_many_tiles() -> None:
    counts = []
    for size in (600, 1800):  # 7 x 64 = 448 px and more
        asked = network()
        Predictor(asked, FACE, PLAIN, "cpu", zoom="auto")(scene(size=(size, size)))
        counts.append(sum(asked.batches))
    assert counts == [1 + 8 * 8] * 2  # (448 / 64 - 1/8) / (7/8) = 7.9 tiles a side


def test_bands_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scene((200, 200, 70), (800, 500, 9), (230, 290, 30))
    expected = predictor().probabilities(picture)
    monkeypatch.setattr("faceparse.predictor.BAND_VALUES", 1024 * 7)
    assert np.allclose(predictor().probabilities(picture), expected, rtol=0, atol=1e-3)


def test_there_are_no_seams() -> None:
    whole = np.full((1, 120, 160), 0.2, np.float32)
    look = Look(Box(20, 40, 100, 120), np.ones((1, 80, 80), np.float16))
    band = joined(whole.copy(), slice(0, 120), [look], 120)[0]
    assert band[60, 70] == pytest.approx(1)  # 10 of the 80 px at each edge fade: .8 / 10 a pixel, and half at the first
    assert np.abs(np.diff(band[60])).max() == pytest.approx(0.08, abs=1e-3)
    assert band[60, 40] == pytest.approx(0.2 + 0.8 * 0.05, abs=1e-3)
    assert (band[:20] == np.float32(0.2)).all()


def test_looks_that_agree_say_the_same_together() -> None:
    whole = np.full((1, 100, 100), 0.7, np.float32)
    looks = [Look(Box(0, 0, 60, 60), np.full((1, 9, 9), 0.7)), Look(Box(30, 30, 90, 90), np.full((1, 60, 60), 0.7))]
    assert np.allclose(joined(whole.copy(), slice(0, 100), looks, 100), 0.7)


def test_where_looks_overlap_the_nearer_middle_counts_more() -> None:
    whole = np.zeros((1, 60, 100), np.float32)
    looks = [Look(Box(0, 0, 60, 60), np.ones((1, 60, 60))), Look(Box(0, 40, 60, 100), np.zeros((1, 60, 60)))]
    row = joined(whole, slice(0, 60), looks, 60)[0, 30, 40:60]
    assert all(left >= right for left, right in pairwise(row))
    assert row[0] > 0.9
    assert row[-1] < 0.1


def test_a_frame_is_a_square_inside_the_picture() -> None:
    # a face of 60 px: 60 / .6 = 100 px around its middle
    assert framed(Box(200, 300, 260, 340), (600, 800)) == Box(180, 270, 280, 370)
    assert framed(Box(0, 780, 60, 800), (600, 800)) == Box(0, 700, 100, 800)
    assert framed(Box(0, 0, 50, 60), (50, 800)) == Box(0, 0, 50, 100)


def test_another_zoom_is_told_the_nearest() -> None:
    with pytest.raises(ValueError, match="there is no zoom 'atuo'.*'auto'"):
        predictor(zoom="atuo")


def test_the_cut_out_of_a_small_face_is_opaque() -> None:
    picture = scene((700, 300, 9))
    asked = predictor()
    alpha = asked.alpha(picture, asked.seen([picture])[0])
    assert alpha.shape == picture.shape[:2]
    assert alpha[300, 700] == pytest.approx(1, abs=0.02)
    assert alpha[300, 740] == 0


class Shy(Colour):
    """As `Colour`, for two classes: red is face as long as it is less than a tenth of the picture."""

    def __init__(self) -> None:
        super().__init__(2, {1: RED})

    def forward(self, image: Tensor) -> Tensor:
        logits = super().forward(image)
        logits[:, 1] -= 20 * (image[:, 0].mean(dim=(1, 2), keepdim=True) > 0.1)
        return logits


class OnTheLeft(nn.Module):
    """Logits (B, K, H, W): `sure` is certain on the picture's left, the background elsewhere."""

    def __init__(self, classes: int, sure: int):
        super().__init__()
        self.classes, self.sure = classes, sure

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.full((len(image), self.classes, *image.shape[2:]), -20.0)
        logits[:, 0] = 0
        logits[:, self.sure, :, : image.shape[3] // 2] = 20
        return logits


def test_a_flip_averages_both_and_swaps_left_and_right() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    face = Predictor(OnTheLeft(2, 1), FACE, PLAIN, "cpu", flip=True)
    assert np.allclose(face.probabilities(picture), 0.5)
    left, right = CELEBAMASK.id("l_eye"), CELEBAMASK.id("r_eye")
    p = Predictor(OnTheLeft(19, left), CELEBAMASK, PLAIN, "cpu", flip=True).probabilities(picture)
    assert np.allclose(p[left, :, :31], 0.5)  # as it is
    assert np.allclose(p[right, :, 33:], 0.5)  # what the mirror calls left
    assert np.allclose(p[right, :, :31], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "zoomed", "flipped"),
    [
        ([], "none", False),
        (["--quality", "fast"], "none", False),
        (["--quality", "best"], "auto", True),
        (["--quality", "best", "--zoom", "none"], "none", True),
        (["--quality", "best", "--no-flip"], "auto", False),
        (["--zoom", "auto"], "auto", False),
        (["--flip"], "none", True),
    ],
)
def test_quality_stands_for_zoom_and_flip(flags: list[str], zoomed: str, flipped: bool) -> None:
    args = command.parse_args(["photos", "--save_path", "masks", *flags])
    assert (args.zoom, args.flip) == (zoomed, flipped)


@pytest.mark.parametrize(("name", "found"), [("auto", True), ("none", False)])
def test_segment_zooms_as_it_is_told(name: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rgb(tmp_path / "photo.png", scene((700, 300, 9)))

    def load(path: None, device: None, labels: None, classes: None, zoom: str, flip: bool) -> Predictor:
        return predictor(zoom=zoom)

    monkeypatch.setattr("faceparse.predictor.load", load)
    flags = ["--save_path", str(tmp_path / "out"), "--zoom", name, "--background", "#00ff00"]
    assert command.main([str(tmp_path / "photo.png"), *flags]) == 0
    assert read_mask(tmp_path / "out" / "photo.png").any() == found


def test_a_look_that_moves_to_another_place_and_shows_nothing_there_is_no_look() -> None:
    finder = np.zeros((96, 96), np.float32)
    finder[40:60, 40:60] = 0.9
    asked = 0

    def ask(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        nonlocal asked
        answers = np.zeros((len(pictures), 2, 96, 96), np.float32)
        answers[0, :, :4, :4] = asked == 0  # the first look shows a face in its corner, none is there later
        asked += 1
        return list(answers)

    assert zoom.looks(np.zeros((400, 400, 3), np.uint8), finder, ask, 400) == () and asked == 2
