"""benchmarks/fairness.py: what a picture shows, who is grouped with whom, and which gaps are beyond chance."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import fairness
from faceparse.images import write_mask, write_rgb
from faceparse.labels import CELEBAMASK, FOREGROUND, label_set
from tests.conftest import draw_face


def drawn(size: int = 100, **parts: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of rectangles: class name -> left, top, width, height."""
    ids = np.zeros((size, size), np.uint8)
    for name, (left, top, width, height) in parts.items():
        ids[top : top + height, left : left + width] = CELEBAMASK.id(name)
    return ids


def painted(rgb: tuple[int, int, int], size: int = 20) -> np.ndarray:
    return np.full((size, size, 3), rgb, np.uint8)


EVERYWHERE = np.ones((20, 20), bool)


@pytest.mark.parametrize(
    ("rgb", "lightness", "blue_to_yellow"), [((255, 0, 0), 53.24, 67.20), ((255, 255, 0), 97.14, 94.48)]
)
def test_the_angle_of_red_and_yellow_is_that_of_their_published_lab(
    rgb: tuple[int, int, int], lightness: float, blue_to_yellow: float
) -> None:
    expected = math.degrees(math.atan((lightness - 50) / blue_to_yellow))  # 2.76 and 26.52 degrees
    assert fairness.ita(painted(rgb), EVERYWHERE) == pytest.approx(expected, abs=0.05)


def test_highlights_and_shadows_do_not_change_the_angle() -> None:
    image = painted((200, 150, 120))
    plain = fairness.ita(image, EVERYWHERE)
    image[0], image[1] = 255, 0  # a twentieth of the rows each
    assert fairness.ita(image, EVERYWHERE) == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize("rgb", [(120, 120, 120), (100, 120, 200)])
def test_grey_and_bluish_skin_has_no_angle(rgb: tuple[int, int, int]) -> None:
    assert math.isnan(fairness.ita(painted(rgb), EVERYWHERE))


def test_a_few_pixels_of_skin_have_no_angle() -> None:
    assert math.isnan(fairness.ita(painted((200, 150, 120)), EVERYWHERE & (np.arange(20) < 9)))  # 180 of 200


def test_darker_skin_has_a_smaller_angle_and_another_group() -> None:
    angles = [fairness.ita(painted(rgb), EVERYWHERE) for rgb in ((240, 210, 195), (190, 140, 105), (80, 50, 35))]
    assert angles == sorted(angles, reverse=True)
    assert [fairness.group_of(angle, fairness.TONES) for angle in angles] == ["very light", "tan", "dark"]


@pytest.mark.parametrize(("angle", "group"), [(55, "very light"), (54.9, "light"), (-30, "brown"), (-31, "dark")])
def test_a_bound_belongs_to_the_lighter_group(angle: float, group: str) -> None:
    assert fairness.group_of(angle, fairness.TONES) == group
    assert fairness.group_of(math.nan, fairness.TONES) is None


def test_the_turn_of_a_head_is_the_noses_way_from_between_the_eyes() -> None:
    """The eyes' middles are at 30 and 70, 40 apart and 50 between them; the nose's is at 50, then 60: a quarter."""
    image, eyes = painted((0, 0, 0), 100), {"r_eye": (28, 30, 5, 5), "l_eye": (68, 30, 5, 5)}
    assert fairness.yaw(image, drawn(nose=(48, 45, 5, 20), **eyes)) == 0
    turned = drawn(nose=(58, 45, 5, 20), **eyes)
    assert fairness.yaw(image, turned) == pytest.approx(0.25)
    assert fairness.yaw(image, turned.T) == pytest.approx(0.25)  # a face that lies on its side
    assert math.isnan(fairness.yaw(image, drawn(nose=(48, 45, 5, 20), l_eye=(68, 30, 5, 5))))


def test_hair_counts_over_the_forehead_and_not_beside_the_face() -> None:
    """Between eyes 40 apart at y 50 the box reaches from 26 to 62 and, beside the middle of 50, 30 each way."""
    image, eyes = painted((0, 0, 0), 100), {"r_eye": (30, 50, 1, 1), "l_eye": (70, 50, 1, 1)}
    assert fairness.forehead_hair(image, drawn(hair=(0, 0, 20, 100), **eyes)) == 0
    assert fairness.forehead_hair(image, drawn(hair=(0, 0, 100, 35), **eyes)) == pytest.approx(8 / 35)
    assert math.isnan(fairness.forehead_hair(image, drawn(hair=(0, 0, 100, 35))))


def bearded(below: int, grain: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Skin of grey 180 with a grain of 4, and below the mouth of another grey and grain."""
    ids = drawn(skin=(20, 20, 60, 75), nose=(45, 35, 10, 20))
    ids[62:68, 35:65] = CELEBAMASK.id("l_lip")
    rng, image = np.random.default_rng(seed), painted((180, 180, 180), 100).astype(np.int16)
    image[:68] += rng.integers(-4, 5, (68, 100, 1), dtype=np.int16)
    image[68:] += below - 180 + rng.integers(-grain, grain + 1, (32, 100, 1), dtype=np.int16)
    return image.astype(np.uint8), ids


@pytest.mark.parametrize(
    ("below", "grain", "seen"),
    [(120, 20, True), (120, 4, False), (180, 20, False)],
    ids=["dark and coarse", "a shadow", "grain alone"],
)
def test_a_beard_is_darker_than_the_cheeks_and_has_more_grain(below: int, grain: int, seen: bool) -> None:
    assert (fairness.beard(*bearded(below, grain)) >= 1) == seen


def test_a_face_without_a_mouth_tells_nothing_of_a_beard() -> None:
    assert math.isnan(fairness.beard(painted((180, 150, 130), 100), drawn(skin=(20, 20, 60, 75))))


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ((40, 20, 10), ("a", "b", "c")),
        ((40, 20, 9), ("a", "b or c", "b or c")),
        ((40, 4, 12), ("a", "b or c", "b or c")),  # the smaller neighbour
        ((3, 4, 40), ("a or b or c",) * 3),  # together still under ten
        ((40, 0, 4), ("a or c", None, "a or c")),
        ((4, 0, 0), ("a", None, None)),
    ],
)
def test_a_group_of_few_joins_its_smaller_neighbour(sizes: tuple[int, ...], names: tuple[str | None, ...]) -> None:
    merged = fairness.joined(dict(zip("abc", sizes, strict=True)))
    assert tuple(merged.get(name) for name in "abc") == names


def test_every_picture_is_in_one_group_but_those_that_tell_nothing() -> None:
    numbers = [60.0] * 12 + [math.nan] + [45.0] * 11 + [30.0]
    groups = fairness.grouped(numbers, fairness.TONES, np.arange(25))
    assert {name: own.tolist() for name, own in groups.items()} == {
        "very light": list(range(12)),
        "light or intermediate": list(range(13, 25)),
    }


def of_ious(ious: list[float]) -> np.ndarray:
    """Counts (pictures, 5, 2) of pictures of which 100 pixels are called or are the face, and this share is both."""
    hits = np.round(100 * np.array(ious))
    columns = np.stack([hits, np.full(len(hits), 100.0), hits, hits / 100, np.ones(len(hits))], axis=1)
    return np.stack([columns, columns], axis=2)


def test_pictures_are_counted_once_and_pooled_by_their_pixels() -> None:
    """IoU 4/8 and 1/2: pooled 5/10, with a third picture that has and gets nothing."""
    masks = [np.array([[1] * hit + [0] * (8 - hit)], np.uint8) for hit in (4, 1, 0)]
    truths = [np.array([[1] * true + [0] * (8 - true)], np.uint8) for true in (8, 2, 0)]
    sums = np.sum([fairness.counted(mask, truth, 2) for mask, truth in zip(masks, truths, strict=True)], axis=0)
    assert fairness.pooled(sums, 1) == 0.5
    assert fairness.of_pictures(sums, 1) == 0.5  # of two


def test_the_face_of_nineteen_classes_is_a_column_of_its_own() -> None:
    """Nose called skin is wrong for both of them and right for the face."""
    counts = fairness.counted_parts(drawn(skin=(0, 0, 10, 10)), drawn(skin=(0, 0, 10, 9), nose=(0, 9, 10, 1)))
    assert counts.shape == (5, 22)
    assert counts[3, [CELEBAMASK.id("skin"), CELEBAMASK.id("nose"), fairness.FACE_COLUMN]].tolist() == [0.9, 0, 1]


def test_eyes_are_kept_where_the_face_covers_them() -> None:
    """A lens of ten rows, an eye in four of them: the face has two of these, and six of the lens as well."""
    truth = drawn(eye_g=(0, 0, 10, 10))
    truth[3:7, :10] = CELEBAMASK.id("l_eye")
    face = drawn(skin=(0, 5, 10, 8)) // CELEBAMASK.id("skin")
    counts = fairness.counted_face(face, truth)
    assert fairness.pooled(counts, 2) == 0.5
    assert fairness.pooled(counts, 1) == 20 / (40 + 60)


def test_an_answer_that_takes_the_lens_for_skin_is_right_for_the_face_with_glasses() -> None:
    counts = fairness.counted_parts(drawn(skin=(0, 0, 10, 10)), drawn(eye_g=(0, 0, 10, 4), skin=(0, 4, 10, 6)))
    assert counts[3, [fairness.FACE_COLUMN, fairness.LENSES_COLUMN]].tolist() == [0.6, 1]


def test_classes_that_a_group_lacks_are_in_no_groups_mean() -> None:
    skin, hat = (
        np.stack([fairness.counted_parts(*[drawn(**{name: (0, 0, 9, 9)})] * 2)] * 5) for name in ("skin", "hat")
    )
    both = skin + hat
    assert fairness.common_classes([both, skin]) == [CELEBAMASK.id("skin")]
    assert fairness.common_classes([both, both[:4]]) == []  # four pictures are too few
    assert fairness.mean_dice(both.sum(axis=0), fairness.common_classes([both])) == 1


def test_a_gap_is_beyond_chance_only_where_its_interval_leaves_out_zero() -> None:
    rng = np.random.default_rng(0)
    groups = {
        "many": of_ious(rng.uniform(0.85, 0.95, 40).tolist()),
        "alike": of_ious(rng.uniform(0.85, 0.95, 20).tolist()),
        "worse": of_ious(rng.uniform(0.55, 0.65, 12).tolist()),
    }
    rows = fairness.rows_of("trait", groups, {"IoU": partial(fairness.pooled, column=1)})
    many, alike, worse = fairness.table(rows).splitlines()[2:5]
    assert many.startswith("| trait | many | 40 |") and ";" not in many  # the largest is what others are held against
    assert alike.startswith("|  | alike | 20 |") and "**" not in alike
    assert "; **-.3" in worse and worse.endswith("]**† |")
    assert "2 gaps" in fairness.table(rows) and "1 are bold, 1 with a dagger" in fairness.table(rows)


def test_paired_groups_are_drawn_alike() -> None:
    """Each face loses .1, whatever its score: the gap has no spread, though the scores have."""
    ious = np.linspace(0.2, 0.9, 8)
    groups = {"large": of_ious(ious.tolist()), "small": of_ious((ious - 0.1).tolist())}
    score = {"IoU": partial(fairness.of_pictures, column=1)}
    _, small = fairness.rows_of("size", groups, score, paired=True)
    assert np.allclose(small.gaps["IoU"][1], -0.1)
    _, apart = fairness.rows_of("size", groups, score)
    assert apart.gaps["IoU"][1].std() > 0.05


def test_the_figures_are_the_same_at_every_run() -> None:
    groups = {"a": of_ious([0.9, 0.8, 0.7]), "b": of_ious([0.6, 0.5])}
    score = {"IoU": partial(fairness.pooled, column=1)}
    assert fairness.table(fairness.rows_of("t", groups, score)) == fairness.table(fairness.rows_of("t", groups, score))


@pytest.mark.parametrize(("number", "text"), [(0.95, ".950"), (1.0, "1.000"), (-0.0123, "-.012"), (math.nan, "-")])
def test_scores_are_written_without_the_leading_zero(number: float, text: str) -> None:
    assert fairness.decimal(number) == text


class Everything:
    """Answers the first class everywhere, and counts how often it is asked."""

    asked = 0

    def __init__(self, weights: str, device: str, zoom: str = "none"):
        self.labels = label_set(weights)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        Everything.asked += 1
        return np.full(picture.shape[:2], FOREGROUND if self.labels.is_binary else 1, np.uint8)


def test_one_command_prints_every_part_and_goes_on_from_the_masks_that_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fairness, "load", Everything)
    monkeypatch.setattr(fairness, "SCENE", (48, 64))
    monkeypatch.setattr(fairness, "RUNS", 1)
    for name in ("images", "masks", "person/images", "person/masks"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(12):
        image, ids = draw_face(number, 64)
        for folder, mask in ((tmp_path, ids), (tmp_path / "person", np.uint8(FOREGROUND) * (ids > 0))):
            write_rgb(folder / "images" / f"{number}.png", image)
            write_mask(folder / "masks" / f"{number}.png", mask)
    for folder in (tmp_path, tmp_path / "person"):
        rows = (f"{number},{number == 0}" for number in range(12))
        (folder / "split.csv").write_text("\n".join(rows))
    write_rgb(tmp_path / "backgrounds" / "wall.png", painted((90, 120, 90), 64))
    flags = {"faces_dir": "images", "masks_dir": "masks", "faces_split": "split.csv", "backgrounds_dir": "backgrounds"}
    flags |= {"person_dir": "person", "out": "kept"}
    argv = [text for name, path in flags.items() for text in (f"--{name}", str(tmp_path / path))]

    def printed() -> str:
        assert fairness.main([*argv, "--faces", "2"]) == 0
        return capsys.readouterr().out

    first, asked = printed(), Everything.asked
    assert [line for line in first.splitlines() if line.startswith("##")] == [f"## {part}" for part in fairness.PARTS]
    assert asked == 11 + 11 + 2 * 11 + 2 * (5 + 5 + 5 + 4)  # all but the one that may be trained on
    assert printed() == first and Everything.asked == asked


def test_a_face_has_the_height_asked_for_before_one_and_the_same_wall(tmp_path: Path) -> None:
    image, ids = draw_face(0, 128)
    write_rgb(tmp_path / "0.png", image)
    write_mask(tmp_path / "mask.png", ids)
    write_rgb(tmp_path / "wall.png", np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    pair = (tmp_path / "0.png", tmp_path / "mask.png")
    make = partial(fairness.in_scene, 3, pair, [tmp_path / "wall.png"])
    (small, small_truth), (large, large_truth) = make(0.1), make(0.3)
    assert cv2.boundingRect(small_truth)[3] == pytest.approx(0.1 * 768, abs=3)
    assert cv2.boundingRect(large_truth)[3] == pytest.approx(0.3 * 768, abs=3)
    apart = (small == large).all(axis=2)
    assert apart.mean() > 0.6  # all but the two people
    assert np.array_equal(make(0.1)[0], small)
