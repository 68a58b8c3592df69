"""Scores of `test.py`: figures worked out by hand, their intervals, and the files and pictures that tell of them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from faceparse import images, metrics, predictor
from faceparse.commands import test as command
from faceparse.commands.score_pictures import draw_confusion
from faceparse.commands.scoring import WORST, Scores
from faceparse.labels import CELEBAMASK, FACE, LABEL_SETS, LabelSet
from faceparse.metrics import Boundary, Confusion
from tests.conftest import draw_face

CPU = torch.device("cpu")
HAIR, CLOTH, NECK = (CELEBAMASK.id(name) for name in ("hair", "cloth", "neck"))


@dataclass
class Echo:
    """Answers the red of a picture as its mask."""

    labels: LabelSet
    device: torch.device = CPU

    def seen(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.ascontiguousarray(picture[..., 0]) for picture in pictures]

    def decided(self, small: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        assert small.shape == size_hw
        return small


@pytest.fixture(autouse=True)
def labels_in_use(monkeypatch: pytest.MonkeyPatch) -> list[LabelSet]:
    """What `test.py` answers in is the label set in this list."""
    chosen = [CELEBAMASK]
    monkeypatch.setattr(predictor, "load", lambda *_: Echo(chosen[0]))
    return chosen


def write(folder: Path, stem: str, prediction: np.ndarray, truth: np.ndarray | None = None) -> None:
    """A picture in `folder`/in that is answered with `prediction`, and its true mask."""
    images.write_rgb(folder / f"in/{stem}.png", np.repeat(prediction[..., None], 3, axis=2).astype(np.uint8))
    if truth is not None:
        images.write_mask(folder / f"truth/{stem}.png", truth.astype(np.uint8))


def score(folder: Path, *flags: str) -> int:
    paths = {"--images_path": "in", "--masks_path": "truth", "--save_path": "out"}
    return command.main([word for flag, name in paths.items() for word in (flag, str(folder / name))] + list(flags))


def scored(folder: Path) -> dict[str, dict[str, dict[str, float | None]]]:
    """What scores.json says."""
    return json.loads((folder / "out/scores.json").read_text())


def ids(*rows: str) -> np.ndarray:
    """uint8 (H, W) of class ids by letters: h hair, c cloth, n neck, i ignored, anything else background."""
    letters = {"h": HAIR, "c": CLOTH, "n": NECK, "i": 255}
    return np.array([[letters.get(letter, 0) for letter in row] for row in rows], np.uint8)


def square(size: int, top: int, left: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def boundary_f1(prediction: np.ndarray, truth: np.ndarray, classes: int = 2) -> np.ndarray:
    boundary = Boundary(classes)
    boundary.add(prediction, truth)
    return boundary.f1()


# boundaries


def test_a_boundary_within_two_pixels_at_512_is_met() -> None:
    truth = square(512, 100, 100)
    for shift in (0, 1, 2):
        assert boundary_f1(square(512, 100, 100 + shift), truth) == pytest.approx([1, 1])
    assert boundary_f1(square(512, 100, 103), truth)[1] < 0.6


def test_the_tolerance_grows_with_the_picture_and_is_at_least_a_pixel() -> None:
    assert boundary_f1(square(1024, 100, 104), square(1024, 100, 100))[1] == 1
    assert boundary_f1(square(1024, 100, 105), square(1024, 100, 100))[1] < 1
    assert boundary_f1(square(64, 20, 21), square(64, 20, 20))[1] == 1


def test_a_square_shifted_too_far_is_met_where_the_other_edges_pass() -> None:
    # 76 boundary pixels, 1 px tolerance, shifted 2 right: of the top and of the bottom all but the last,
    # of the left side the two pixels next to the true top and bottom
    assert boundary_f1(square(64, 20, 22), square(64, 20, 20))[1] == pytest.approx((19 + 19 + 2) / 76)


def test_the_distance_between_boundaries_is_in_a_straight_line() -> None:
    # shifted 2 down and 2 right, 2 px tolerance: the corner is 2.8 px off, its two neighbours are 2.2 px off
    assert boundary_f1(square(512, 102, 102), square(512, 100, 100))[1] == pytest.approx(73 / 76)


def test_precision_and_recall_of_boundaries_are_pooled_over_the_set() -> None:
    boundary = Boundary(2)
    boundary.add(square(64, 20, 20), square(64, 20, 20))  # 76 predicted, 76 true, all met
    boundary.add(np.zeros((64, 64), np.uint8), square(64, 20, 20, side=10))  # 36 true
    precision, recall = 1, 76 / (76 + 36)
    assert boundary.f1()[1] == pytest.approx(2 * precision * recall / (precision + recall))


def test_the_edge_of_the_picture_is_no_boundary_and_an_absent_class_has_none() -> None:
    half = np.zeros((10, 10), np.uint8)
    half[:, 5:] = 1
    boundary = Boundary(3)
    boundary.add(half, half)
    assert boundary.counts[:, 1].tolist() == [10] * 4
    assert np.isnan(boundary.f1()[2])
    assert np.isnan(boundary_f1(np.ones((10, 10), np.uint8), np.ones((10, 10), np.uint8))).all()


def test_a_boundary_that_only_one_side_has_scores_0() -> None:
    assert boundary_f1(square(64, 20, 20), np.zeros((64, 64), np.uint8)).tolist() == [0, 0]
    assert boundary_f1(np.zeros((64, 64), np.uint8), square(64, 20, 20)).tolist() == [0, 0]


def test_boundaries_in_or_near_ignored_pixels_do_not_count() -> None:
    truth, prediction = square(64, 20, 20), square(64, 20, 20)
    prediction[20:40, 39] = 0  # the right side is a pixel off,
    prediction[20:40, 34:37] = 0  # and there is a gash
    assert boundary_f1(prediction, truth)[1] < 1
    truth[18:42, 32:] = 255
    assert boundary_f1(prediction, truth)[1] == 1
    boundary = Boundary(2)
    boundary.add(prediction, truth)
    # of the top columns 20 to 30, of the bottom too, of the left side the 18 between; column 31 is a pixel from ignored
    assert boundary.counts[:, 1].tolist() == [11 + 11 + 18] * 4


# figures by hand


def test_pixel_accuracy_is_the_share_of_pixels_that_are_right() -> None:
    confusion = Confusion(3)
    assert np.isnan(confusion.pixel_accuracy())
    confusion.add(np.array([0, 1, 2, 2, 1]), np.array([0, 1, 2, 0, 255]))
    assert confusion.pixel_accuracy() == 3 / 4


def test_scores_of_a_face_are_pooled_over_the_set_and_equal_those_by_hand(
    tmp_path: Path, labels_in_use: list[LabelSet], capsys: pytest.CaptureFixture[str]
) -> None:
    labels_in_use[0] = FACE
    # a, 8x8: 32 pixels called face, 16 of them rightly, none missed. b, 4x8: nothing called face, 8 pixels missed.
    called, truth_a, truth_b = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((4, 8))
    called[:, 4:] = truth_a[:4, 4:] = truth_b[:, 6:] = 255
    write(tmp_path, "a", called, truth_a)
    write(tmp_path, "b", np.zeros((4, 8)), truth_b)
    assert score(tmp_path) == 0
    face, background = (scored(tmp_path)["classes"][name] for name in ("face", "background"))
    expected = {"iou": 16 / 40, "dice": 32 / 56, "picture_dice": (32 / 48 + 0) / 2, "precision": 0.5, "recall": 16 / 24}
    assert {name: face[name] for name in expected} == pytest.approx(expected)
    expected = {"iou": 56 / 80, "dice": 2 * 56 / 136, "precision": 56 / (56 + 8), "recall": 56 / (56 + 16)}
    assert {name: background[name] for name in expected} == pytest.approx(expected)
    assert scored(tmp_path)["scored"] == 2
    assert scored(tmp_path)["summary"]["mean_dice"] == face["dice"]
    assert scored(tmp_path)["summary"]["pixel_accuracy"] == pytest.approx((48 + 24) / 96)
    assert list(scored(tmp_path)["classes"]) == ["background", "face"]
    printed = capsys.readouterr().out
    assert "0.4000" in printed and "pictures scored: 2" in printed


def test_a_class_that_is_nowhere_has_no_score_and_one_that_is_never_right_has_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "a", ids("..cc"), ids("..cn"))
    assert score(tmp_path) == 0
    classes = scored(tmp_path)["classes"]
    cloth = {name: classes["cloth"][name] for name in ("iou", "dice", "picture_dice", "precision", "recall")}
    assert cloth == pytest.approx({"iou": 0.5, "dice": 2 / 3, "picture_dice": 2 / 3, "precision": 0.5, "recall": 1})
    assert (classes["neck"]["iou"], classes["neck"]["boundary_f1"], classes["neck"]["precision"]) == (0, 0, None)
    assert set(classes["hat"].values()) == {None}
    assert classes["mean"]["iou"] == 0.25  # cloth and neck; the background is left out
    rows = {row["class"]: row for row in table_of(tmp_path / "out/scores.csv")}
    assert set(rows["hat"].values()) == {"hat", ""}
    printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert printed["hat"] == ["-"] * 8  # six measures, two intervals
    assert printed["cloth"][:4] == ["0.5000", "-", "0.6667", "-"]  # one picture has no interval


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_the_mean_is_over_18_classes_and_miou_over_19(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = np.arange(19).repeat(19).reshape(19, 19)  # a row each
    write(tmp_path, "a", np.where(truth == 1, 0, truth), truth)  # skin is taken for background
    assert score(tmp_path) == 0
    summary = scored(tmp_path)["summary"]
    assert summary["mean_iou"] == summary["mean_dice"] == pytest.approx(17 / 18)
    assert summary["miou"] == pytest.approx((17 + 19 / 38) / 19)
    assert summary["pixel_accuracy"] == pytest.approx(18 / 19)
    figures = {row["figure"]: row for row in table_of(tmp_path / "out/scores/summary.csv")}
    assert {name: row["value"] for name, row in figures.items()} == {name: str(summary[name]) for name in figures}
    out = capsys.readouterr().out
    assert "mIoU of 19 classes: 0.9211 -; pixel accuracy: 0.9474 -; mean: of 18 foreground classes" in out
    assert max(map(len, out.splitlines())) <= 120


def test_dice_per_picture_is_over_the_pictures_that_have_the_class(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hhhhhhhh"), ids("hhhhhhhh"))
    write(tmp_path, "b", ids("........"), ids("......hh"))
    write(tmp_path, "c", ids("....cccc"), ids("....cccc"))
    write(tmp_path, "d", ids("........"), ids("........"))
    assert score(tmp_path) == 0
    hair = scored(tmp_path)["classes"]["hair"]
    assert (hair["dice"], hair["picture_dice"]) == (pytest.approx(16 / 18), 0.5)
    assert scored(tmp_path)["summary"]["picture_dice"] == pytest.approx((1 + 0 + 1) / 3)  # d has no foreground


# intervals


def test_equal_pictures_leave_no_doubt(tmp_path: Path) -> None:
    for stem in "abc":
        write(tmp_path, stem, ids("..hhhh", "..cc.."), ids("...hhh", "..cccc"))
    assert score(tmp_path) == 0
    whole = scored(tmp_path)
    for scores in (whole["classes"]["hair"], whole["classes"]["mean"], whole["summary"]):
        for name in [name for name in scores if f"{name}_low" in scores]:
            assert scores[f"{name}_low"] == pytest.approx(scores[name]) == scores[f"{name}_high"]


def test_one_right_and_one_wrong_picture_leave_all_open(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hh.."), ids("hh.."))
    write(tmp_path, "b", ids("hh.."), ids("..hh"))
    assert score(tmp_path) == 0
    hair = scored(tmp_path)["classes"]["hair"]
    # a quarter of the sets drawn is a twice, a quarter is b twice
    assert (hair["iou_low"], hair["iou"], hair["iou_high"]) == (0, pytest.approx(1 / 3), 1)


def test_bounds_enclose_the_score_and_are_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        truth = draw_face(number, 64)[1]
        write(tmp_path, str(number), np.roll(truth, rng.integers(-3, 4, 2), (0, 1)), truth)
    assert score(tmp_path) == 0
    first, printed = scored(tmp_path), capsys.readouterr().out
    for scores in [*first["classes"].values(), first["summary"]]:
        for name in [name for name in scores if scores.get(f"{name}_low") is not None]:
            assert scores[f"{name}_low"] < scores[name] < scores[f"{name}_high"]
    assert first["classes"]["hair"]["iou_low"] is not None
    span = "[" + ", ".join(f"{first['classes']['hair'][f'iou_{end}']:.3f}"[1:] for end in ("low", "high")) + "]"
    assert span in printed
    assert score(tmp_path) == 0
    assert scored(tmp_path) == first


def test_a_class_of_a_single_picture_has_no_interval(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hhc."), ids("hhc."))
    write(tmp_path, "b", ids("hh.."), ids("hh.."))
    assert score(tmp_path) == 0
    classes = scored(tmp_path)["classes"]
    assert (classes["cloth"]["iou"], classes["cloth"]["iou_low"]) == (1, None)
    assert (classes["hair"]["iou_low"], classes["mean"]["iou_low"]) == (1, 1)


def test_every_set_drawn_has_as_many_pictures() -> None:
    counts = np.stack([np.ones(40), np.arange(40.0)], axis=1)
    drawn = metrics.resampled(counts)
    assert drawn.shape == (metrics.RESAMPLES, 2)
    assert (drawn[:, 0] == 40).all()
    assert drawn[:, 1].mean() / 40 == pytest.approx(19.5, abs=0.3)
    assert drawn[:, 1].std() / 40 == pytest.approx(counts[:, 1].std() / 40**0.5, rel=0.1)


def test_an_interval_holds_its_share_and_leaves_out_what_is_undefined() -> None:
    values = np.stack([np.arange(1001.0), np.full(1001, np.nan)], axis=1)
    values[::2, 0] = np.nan
    low, high = metrics.interval(values)
    assert (low[0], high[0]) == (pytest.approx(1 + 0.025 * 998), pytest.approx(1 + 0.975 * 998))
    assert np.isnan(low[1]) and np.isnan(high[1])


# truths


def test_truth_may_be_a_jpeg_or_class_ids(tmp_path: Path, labels_in_use: list[LabelSet]) -> None:
    labels_in_use[0] = FACE
    half = np.zeros((64, 64), np.uint8)
    half[:, 32:] = 255
    write(tmp_path, "a", half)
    write(tmp_path, "b", half, np.where(half > 0, CELEBAMASK.id("nose"), HAIR))
    Image.fromarray(half).save(tmp_path / "truth/a.jpg", quality=60)
    assert score(tmp_path) == 0
    assert scored(tmp_path)["classes"]["face"]["iou"] == 1


def test_truth_of_0_and_1_that_shows_none_of_the_class_is_named(
    tmp_path: Path, labels_in_use: list[LabelSet], capsys: pytest.CaptureFixture[str]
) -> None:
    labels_in_use[0] = LABEL_SETS["hair"]
    write(tmp_path, "1", ids("hh.."), np.array([[1, 1, 0, 0]], np.uint8))
    assert score(tmp_path) == 1
    told = "1.png: holds 1, which is skin, and no true mask shows hair; if these are masks of 0 and 1, write them"
    assert told in capsys.readouterr().err
    write(tmp_path, "2", ids("hh.."), ids("hh.."))  # others show hair: the first may well be all skin
    assert score(tmp_path) == 0


def test_truth_of_two_kinds_is_named_for_255_means_two_things(
    tmp_path: Path, labels_in_use: list[LabelSet], capsys: pytest.CaptureFixture[str]
) -> None:
    labels_in_use[0] = LABEL_SETS["hair"]
    write(tmp_path, "1", ids("hh.."), ids("hh.."))
    write(tmp_path, "2", ids("hh.."), ids("ii.."))
    assert score(tmp_path) == 1
    told = "2.png: holds only 0 and 255, which is foreground, but 255 is ignored beside class ids, as in 1.png"
    assert told in capsys.readouterr().err
    (tmp_path / "truth" / "2.png").unlink()
    (tmp_path / "in" / "2.png").unlink()
    assert score(tmp_path) == 0


def test_ignored_pixels_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hhhhhhc."), ids("hhiiiic."))
    assert score(tmp_path) == 0
    assert scored(tmp_path)["classes"]["hair"]["precision"] == 1
    assert scored(tmp_path)["summary"]["pixel_accuracy"] == 1


def test_a_picture_twice_as_large_is_scored_at_the_masks_size(tmp_path: Path) -> None:
    truth = draw_face(0, 64)[1]
    write(tmp_path, "a", truth.repeat(2, axis=0).repeat(2, axis=1), truth)
    assert score(tmp_path) == 0
    assert scored(tmp_path)["summary"]["pixel_accuracy"] == 1
    assert images.size_of(tmp_path / "out/a.png") == (128, 128)


def test_truth_is_found_in_mirrored_sub_folders_and_as_a_single_file(tmp_path: Path) -> None:
    for stem, letters in (("a", "hh.."), ("x/a", "cc..")):
        write(tmp_path, stem, ids(letters), ids(letters))
    assert score(tmp_path, "--recursive") == 0
    assert scored(tmp_path)["summary"]["pixel_accuracy"] == 1
    paths = {"--images_path": "in/x/a.png", "--masks_path": "truth/x/a.png", "--save_path": "out"}
    assert command.main([word for flag, name in paths.items() for word in (flag, str(tmp_path / name))]) == 0


def test_missing_and_unfit_truths_are_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem in "abcd":
        write(tmp_path, stem, np.zeros((64, 64)))
    images.write_mask(tmp_path / "truth/a.png", np.zeros((64, 64), np.uint8))
    images.write_mask(tmp_path / "truth/c.png", np.zeros((20, 30), np.uint8))
    (tmp_path / "truth/d.png").write_bytes(b"no picture")
    assert score(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "b.png: no true mask with this stem" in err
    assert "c.png is 30x20" in err
    assert "d.png: cannot be read" in err
    assert "pictures scored: 1, without a true mask: 1" in out
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


# files and pictures


def test_the_confusion_of_classes_is_counted_in_pixels(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hhc.."), ids("hhhc."))
    write(tmp_path, "b", ids("h...."), ids("hh..."))
    assert score(tmp_path) == 0
    rows = {row["truth"]: row for row in table_of(tmp_path / "out/scores/confusion.csv")}
    assert list(rows) == list(CELEBAMASK.classes)
    assert {name: count for name, count in rows["hair"].items() if count != "0"} == {
        "truth": "hair",
        "hair": "3",
        "cloth": "1",
        "background": "1",
    }
    assert rows["cloth"]["background"] == "1"


def test_the_confusion_is_drawn_darker_where_more_pixels_are() -> None:
    drawing = draw_confusion(np.array([[90, 10], [0, 0]]), ("rest", "hair")).astype(int)
    height, width = drawing.shape[:2]
    # two by two cells of 40 pixels at the bottom; the title is wider than they are
    left = next(x for x in range(width) if (drawing[height - 70 : height - 50, x].sum(axis=-1) < 500).all())
    corners = drawing[height - 79 :: 40, left::40][:2, :2].sum(axis=-1)
    assert corners[0, 0] < corners[0, 1] < corners[1, 0] == corners[1, 1] == 3 * 255


def test_the_worst_pictures_are_listed_and_shown_beside_their_truth(
    tmp_path: Path, labels_in_use: list[LabelSet]
) -> None:
    labels_in_use[0] = FACE
    truth = np.zeros((256, 256), np.uint8)
    truth[:, :128] = 255
    for number in range(WORST + 2):  # "0" has nothing right, the next ones more and more
        right = truth.copy()
        right[25 * number :] = 0
        write(tmp_path, str(number), right, truth)
    write(tmp_path, "empty", np.zeros((256, 256)), np.zeros((256, 256)))  # no face, none found: no score
    assert score(tmp_path) == 0
    worst = scored(tmp_path)["worst"]
    assert [Path(one["picture"]).stem for one in worst] == [str(number) for number in range(WORST)]
    assert worst[0]["dice"] == 0
    assert worst[1]["dice"] == pytest.approx(2 * 25 / (25 + 256))
    sheet = images.read_rgb(tmp_path / "out/scores/worst.png").astype(int)
    assert sheet.shape == (24 + WORST * (256 + 24), 3 * 256, 3)
    first = sheet[24 : 24 + 256]
    green = (np.array(FACE.colours[1]) / 2).tolist()
    assert first[128, 256 + 64].tolist() == pytest.approx(green, abs=1)
    assert (first[:, :256] == 0).all() and (first[:, 256 + 130 :] == 0).all()
    second = sheet[24 + 256 + 24 :]  # predicted at the top
    assert second[10, 512 + 64].tolist() == pytest.approx((np.array(FACE.colours[1]) / 2 + 127).tolist(), abs=2)
    assert second[40, 512 + 64].tolist() == [0, 0, 0]


def test_wide_pictures_are_shown_small_and_ignored_pixels_without_colour(
    tmp_path: Path, labels_in_use: list[LabelSet]
) -> None:
    labels_in_use[0] = FACE
    truth = np.zeros((100, 4000), np.uint8)
    truth[:, :1000] = 7  # an eye brow: part of a face
    truth[:, 1000:2000] = 255
    write(tmp_path, "wide", np.zeros((100, 4000)), truth)
    assert score(tmp_path) == 0
    sheet = images.read_rgb(tmp_path / "out/scores/worst.png").astype(int)
    assert sheet.shape[:2] == (24 + 13 + 24, 3 * 512)
    assert sheet[30, 512 + 64].any() and not sheet[30, 512 + 192].any()


def test_what_tells_of_scores_overwrites_no_mask(tmp_path: Path) -> None:
    for stem in ("worst", "confusion", "scores", "scores/worst", "scores/confusion"):
        write(tmp_path, stem, ids("hh.."), ids("hh.."))
    assert score(tmp_path, "--recursive") == 0
    for stem in ("worst", "confusion", "scores", "scores/worst", "scores/confusion"):
        assert np.array_equal(images.read_mask(tmp_path / "out" / f"{stem}.png"), ids("hh.."))
    assert sorted(path.name for path in (tmp_path / "out/scores2").iterdir()) == [
        "confusion.csv",
        "confusion.png",
        "summary.csv",
        "worst.png",
    ]


def test_what_tells_of_scores_is_taken_for_no_picture(tmp_path: Path) -> None:
    write(tmp_path, "a", ids("hh.."), ids("hh.."))
    flags = ("--recursive", "--save_path", str(tmp_path / "in"))
    for _ in range(2):
        assert score(tmp_path, *flags) == 0
        made = sorted(path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.png"))
        assert made == ["a.png", "a_mask.png", "scores/confusion.png", "scores/worst.png"]


def test_class_names_are_written_as_utf_8_whatever_the_locale_and_odd_bytes_are_kept(tmp_path: Path) -> None:
    labels = LabelSet("odd", ("rest", "näse\udcff"), ((0, 0, 0), (255, 0, 0)))
    Scores(labels).report().save(tmp_path, [])
    assert b"n\xc3\xa4se\xff,,,," in (tmp_path / "scores.csv").read_bytes()
    assert "näse\udcff" in json.loads((tmp_path / "scores.json").read_text())["classes"]
    assert images.is_ours(tmp_path / "scores/confusion.png")


# beside others' figures


@pytest.mark.real_data
def test_figures_equal_those_of_an_independent_scorer(
    tmp_path: Path, shared_data: Path, labels_in_use: list[LabelSet]
) -> None:
    tools = shared_data.parent / "tools"
    rng = np.random.default_rng(0)
    for number in range(6):
        truth = draw_face(number, 96)[1]
        prediction = np.roll(cv2.medianBlur(truth, 5), rng.integers(-3, 4, 2), (0, 1))
        if number == 2:
            prediction[:20, :20], truth[50:60, :30] = CELEBAMASK.id("hat"), 255
        write(tmp_path, str(number), prediction, truth)
    assert score(tmp_path) == 0
    theirs, ours = told_by(tools / "score_masks.py", tmp_path), scored(tmp_path)
    for key, measure in (("f1", "dice"), ("iou", "iou")):
        for name, value in theirs[key].items():
            ours_of_class = ours["classes"][name][measure]
            assert (ours_of_class is None) == (value is None)
            assert value is None or ours_of_class == pytest.approx(value, abs=1e-5)
    pairs = {
        "mean_dice": "mean_f1_18",
        "mean_iou": "miou_18_fg",
        "miou": "miou_19",
        "pixel_accuracy": "pixel_accuracy",
        "picture_dice": "per_image_dice_union",
    }
    for name, key in pairs.items():
        assert ours["summary"][name] == pytest.approx(theirs[key], abs=1e-5)
    labels_in_use[0] = FACE
    for path in (tmp_path / "in").iterdir():  # 0/255 answers beside 19-class truth
        write(tmp_path, path.stem, FACE.table[images.read_mask(path)] * 255)
        truth = tmp_path / "truth" / path.name
        images.write_mask(truth, np.where(images.read_mask(truth) == 255, 0, images.read_mask(truth)))
    assert score(tmp_path) == 0
    theirs = told_by(tools / "score_binary.py", tmp_path, "--group", "face_ears")
    assert theirs["iou"] == pytest.approx(scored(tmp_path)["classes"]["face"]["iou"], abs=5e-5)


def told_by(scorer: Path, folder: Path, *flags: str) -> dict[str, Any]:
    line = [sys.executable, "-B", str(scorer), str(folder / "out"), str(folder / "truth"), *flags]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
